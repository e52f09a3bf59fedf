from nsenter.asyncio_process import create_subprocess_exec as create_subprocess_exec
from nsenter.asyncio_process import create_subprocess_shell as create_subprocess_shell
from nsenter.bootstrap import BootstrapData as BootstrapData
from nsenter.bootstrap import TimeOffset as TimeOffset
from nsenter.bootstrap import bootstrap_data as bootstrap_data
from nsenter.errors import BlobError as BlobError
from nsenter.errors import BootstrapError as BootstrapError
from nsenter.idmap import IDMap as IDMap
from nsenter.launch import Child as Child
from nsenter.launch import Program as Program
from nsenter.launch import PythonInit as PythonInit
from nsenter.namespaces import Namespace as Namespace
from nsenter.namespaces import Namespaces as Namespaces
from nsenter.namespaces import NamespaceType as NamespaceType
from nsenter.namespaces import is_namespace_supported as is_namespace_supported
from nsenter.namespaces import namespace_types as namespace_types
from nsenter.popen import Popen as Popen
from nsenter.popen import check_call as check_call
from nsenter.popen import check_output as check_output
from nsenter.popen import run as run

__version__: str
