"""What pip can install works in a call as it does in `python3`; so does the standard library."""

from __future__ import annotations

import importlib.util
import itertools
import subprocess
import sys

import pytest

from importing import PLACES, failures
from sweeps import some

# What the extra `test` installs.
SMALL = {
    "attr": "attr.asdict(attr.make_class('C', ['x'])(1))",
    "certifi": "certifi.where().rpartition('/')[2]",
    "cloudpickle": "cloudpickle.loads(cloudpickle.dumps(lambda: 5))()",
    "cryptography.fernet": "len(cryptography.fernet.Fernet.generate_key())",
    "dateutil.parser": "dateutil.parser.parse('2024-02-03').isoformat()",
    "lxml.etree": "lxml.etree.fromstring('<a><b/></a>').xpath('count(//b)')",
    "msgpack": "msgpack.unpackb(msgpack.packb([1, 'a']))",
    "numpy": "numpy.ones((64, 64)).dot(numpy.ones((64, 64))).sum().item()",
    "orjson": "orjson.dumps({'a': [1]})",
    "psutil": "psutil.Process().pid > 0",
    "pydantic": "pydantic.TypeAdapter(list[int]).validate_python(['3'])",
    "regex": "regex.findall(r'\\p{L}+', 'a1b')",
    "requests": "requests.Request('GET', 'http://a/', params={'b': 1}).prepare().url",
    "sqlalchemy": "str(sqlalchemy.select(sqlalchemy.literal(1)).compile())[:6]",
    "yaml": "yaml.safe_load('a: [1, 2]')",
}
# What the extra `imports` installs besides.
LARGE = {
    "aiohttp": "aiohttp.ClientTimeout(5).total",
    "bcrypt": "bcrypt.checkpw(b'x', bcrypt.hashpw(b'x', bcrypt.gensalt(4)))",
    "brotli": "brotli.decompress(brotli.compress(b'abc'))",
    "bs4": "bs4.BeautifulSoup('<p>x</p>', 'html.parser').p.text",
    "cattrs": "cattrs.structure(['1'], list[int])",
    "click": "click.style('x', bold=True)",
    "dask.bag": "dask.bag.from_sequence([1, 2]).sum().compute(scheduler='threads')",
    "django": "django.VERSION[0] > 1",
    "duckdb": "duckdb.connect().execute('select 1 + 1').fetchone()",
    "fastapi": "fastapi.FastAPI().title",
    "flask": "flask.Flask('x').name",
    "gevent": "gevent.spawn(lambda: 3).get()",
    "google.protobuf.struct_pb2": "google.protobuf.struct_pb2.Value(number_value=1).number_value",
    "greenlet": "greenlet.greenlet(lambda: 4).switch()",
    "grpc": "grpc.StatusCode.OK.name",
    "h5py": "h5py.version.hdf5_version_tuple[0] > 0",
    "html5lib": "html5lib.parse('<p>x').tag",
    "httpx": "str(httpx.URL('http://a/b').path)",
    "idna": "idna.encode('bücher.example')",
    "jinja2": "jinja2.Template('{{ x }}').render(x=1)",
    "joblib": "joblib.hash([1])",
    "lz4.frame": "lz4.frame.decompress(lz4.frame.compress(b'abc'))",
    "markdown": "markdown.markdown('*x*')",
    "marshmallow": "marshmallow.fields.Int().deserialize('3')",
    "matplotlib.figure": "len(matplotlib.figure.Figure().add_subplot().plot([1, 2]))",
    "nacl.utils": "len(nacl.utils.random(8))",
    "networkx": "networkx.path_graph(4).number_of_edges()",
    "numba": "numba.njit(lambda x: x + 1)(1)",
    "openpyxl": "openpyxl.Workbook().active.title",
    "pandas": "pandas.DataFrame({'a': [1, 2]}).a.sum().item()",
    "PIL.Image": "PIL.Image.new('RGB', (2, 2)).tobytes()",
    "polars": "polars.DataFrame({'a': [1, 2]})['a'].sum()",
    "pyarrow": "pyarrow.array([1, 2]).to_pylist()",
    "pytz": "str(pytz.timezone('Europe/Berlin'))",
    "rapidfuzz.fuzz": "rapidfuzz.fuzz.ratio('abc', 'abd') > 50",
    "rich.text": "rich.text.Text('x').plain",
    "scipy.linalg": "scipy.linalg.det([[2.0, 0.0], [0.0, 3.0]]).item()",
    "shapely": "shapely.Point(1, 2).buffer(1).area > 3",
    "simplejson": "simplejson.loads('[1]')",
    "sklearn.linear_model": "sklearn.linear_model.LinearRegression().fit([[0], [1]], [0, 1])"
    ".predict([[2]]).round(3).tolist()",
    "statsmodels.api": "statsmodels.api.add_constant([1.0, 2.0]).shape",
    "sympy": "str(sympy.integrate(sympy.Symbol('x')))",
    "tabulate": "tabulate.tabulate([[1]])",
    "tornado.escape": "tornado.escape.xhtml_escape('<')",
    "tqdm": "list(tqdm.tqdm([1], disable=True))",
    "ujson": "ujson.loads('[1]')",
    "uvloop": "type(uvloop.new_event_loop()).__name__",
    "websockets": "websockets.Headers(a='b')['a']",
    "wrapt": "wrapt.ObjectProxy([1])[0]",
    "xxhash": "xxhash.xxh64(b'x').hexdigest()",
    "zmq": "zmq.zmq_version_info()[0] > 0",
    "zstandard": "zstandard.decompress(zstandard.compress(b'abc'))",
}


# The quick run has each package in one place.
@pytest.mark.parametrize(
    ("module", "place"),
    some(itertools.product(SMALL, PLACES), *zip(SMALL, itertools.cycle(PLACES))),
)
def test_a_small_package_works(module: str, place: str) -> None:
    assert failures({module: SMALL[module]}, place) == {}


@pytest.mark.sweep
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("module", LARGE)
def test_a_large_package_works(module: str, place: str) -> None:
    name = module.partition(".")[0]
    assert importlib.util.find_spec(name), f"{name} is missing: pip install '.[imports]'"
    assert failures({module: LARGE[module]}, place) == {}


# Those that open a browser, print a poem, or end the process.
_NOT_TRIED = {"antigravity", "this", "idlelib", "__main__"}


_IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:
        continue
    print("can", name)
"""


def _standard_library() -> list[str]:
    """The modules of it that this Python, as it was built, can import."""
    names = sorted(sys.stdlib_module_names - _NOT_TRIED)
    words = [sys.executable, "-W", "ignore", "-c", _IMPORTS, *names]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [line.removeprefix("can ") for line in done.stdout.splitlines() if line[:4] == "can "]


@pytest.fixture(scope="module")
def standard_library() -> list[str]:
    names = _standard_library()
    assert len(names) > 200
    return names


@pytest.mark.parametrize("place", some(PLACES, "sandbox"))
def test_every_module_of_the_standard_library_works(
    standard_library: list[str], place: str
) -> None:
    assert failures({name: f"{name}.__name__" for name in standard_library}, place) == {}
