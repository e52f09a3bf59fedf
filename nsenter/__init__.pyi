from nsenter.bootstrap import BootstrapData as BootstrapData
from nsenter.bootstrap import TimeOffset as TimeOffset
from nsenter.bootstrap import bootstrap_data as bootstrap_data
from nsenter.doctor import Finding as Finding
from nsenter.doctor import diagnose as diagnose
from nsenter.errors import BlobError as BlobError
from nsenter.errors import BootstrapError as BootstrapError
from nsenter.idmap import IDMap as IDMap
from nsenter.inspect import NamespaceInfo as NamespaceInfo
from nsenter.inspect import ProcessInfo as ProcessInfo
from nsenter.inspect import Snapshot as Snapshot
from nsenter.inspect import namespaces_of as namespaces_of
from nsenter.inspect import snapshot as snapshot
from nsenter.launch import Child as Child
from nsenter.launch import Program as Program
from nsenter.launch import PythonInit as PythonInit
from nsenter.mounts import Bind as Bind
from nsenter.mounts import Dev as Dev
from nsenter.mounts import Proc as Proc
from nsenter.mounts import Tmpfs as Tmpfs
from nsenter.namespaces import Namespace as Namespace
from nsenter.namespaces import Namespaces as Namespaces
from nsenter.namespaces import NamespaceType as NamespaceType
from nsenter.namespaces import is_namespace_supported as is_namespace_supported
from nsenter.namespaces import namespace_types as namespace_types
from nsenter.options import Options as Options

__version__: str
