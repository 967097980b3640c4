"""What is done with a Neural DSL program: parse it, propagate shapes, write source code or ONNX, tell what was lost.

The published package prints, logs, leaves layers out without a word and writes into the current directory. Here it runs
in a directory of its own, silenced, and every warning and every layer that it left out is put into the result.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import hashlib
import importlib
import io
import json
import logging
import math
import os
import re
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from neural.api import guard

os.environ.setdefault("PYSNOOPER_DISABLED", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

BACKENDS = ("pytorch", "tensorflow", "onnx")
MAXIMUM_LAYERS = 2000
PACKAGE_LOGGERS = ("neural.parser", "neural.parser.parser", "parser.parser", "neural.code_generation.code_generator")
_TERMINALS = {
    "$END": "end of program",
    "NAME": "a name",
    "STRING": "a string",
    "NUMBER": "a number",
    "INT": "an integer",
    "FLOAT": "a decimal number",
    "BOOL": "true or false",
    "CUSTOM_LAYER": "a custom layer",
    "MACRO_NAME": "a macro",
}
_REPEAT = re.compile(r"\*\s*(\d+)")
# What the package logs about its own insides; these say nothing about the program.
_CHATTER = re.compile(
    r"^(Current input shape: |Dimensions after processing: |Skipping unhandled item at index \d+: None$|None dimension)"
)


class ProgramError(Exception):
    """A program that is not Neural DSL: where, and what was expected there."""

    def __init__(self, message: str, line: int | None, column: int | None, expected: list[str]) -> None:
        super().__init__(message)
        self.message = message
        self.line = line
        self.column = column
        self.expected = expected


class GenerationError(Exception):
    """A program that parses but that the package cannot turn into what was asked for; the message says why."""


@dataclass
class Generated:
    """What a generator made of a program."""

    backend: str
    code: str
    dropped_layers: list[dict[str, Any]]
    warnings: list[str]
    shapes: list[dict[str, Any]]
    model: dict[str, Any]
    binary: bytes = b""
    layers: int = 0

    def result(self) -> dict[str, Any]:
        """The part that goes into a job's row."""
        found: dict[str, Any] = {
            "backend": self.backend,
            "code": self.code,
            "layers": self.layers,
            "dropped_layers": self.dropped_layers,
            "warnings": self.warnings,
            "shapes": self.shapes,
        }
        if self.binary:
            found["model_base64"] = base64.b64encode(self.binary).decode()
            found["model_sha256"] = hashlib.sha256(self.binary).hexdigest()
        return found


@dataclass
class Artifact:
    """A file that an export job made."""

    name: str
    media_type: str
    content: bytes
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        self.sha256 = hashlib.sha256(self.content).hexdigest()


# --- the package, loaded when first needed ------------------------------------------------------------------


def _parser() -> ModuleType:
    guard.install()
    return importlib.import_module("neural.parser.parser")


def preload() -> None:
    """Import all that jobs need, so that forked pool processes share it."""
    with _silence([]):
        _parser()
        importlib.import_module("neural.shape_propagation.shape_propagator")
        importlib.import_module("neural.code_generation.code_generator")


class _Collector(logging.Handler):
    """Keeps the package's warnings."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.found = found

    def emit(self, record: logging.LogRecord) -> None:
        _note(self.found, record.getMessage())


def _note(found: list[str], message: str) -> None:
    message = message.strip()
    if message and not _CHATTER.match(message) and message not in found:
        found.append(message)


@contextlib.contextmanager
def _silence(found: list[str]) -> Iterator[None]:
    """Swallow the package's prints, collect its warnings. For a process that does one job at a time."""
    handler = _Collector(found)
    loggers = [logging.getLogger(name) for name in PACKAGE_LOGGERS]
    before = [(logger, logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.WARNING)
        logger.propagate = False
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(record=True) as raised,
        ):
            warnings.simplefilter("always")
            try:
                yield
            finally:
                for warning in raised:
                    if issubclass(warning.category, UserWarning):
                        _note(found, str(warning.message))
    finally:
        for logger, level, propagate in before:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


# --- parsing ------------------------------------------------------------------------------------------------


def parse(source: str) -> dict[str, Any]:
    """The model that a program describes. Raises ProgramError. May be called from several threads."""
    module = _parser()
    _limit_repetition(source)
    try:
        module.network_parser.parse(source)
        transformer = module.ModelTransformer()
        model: dict[str, Any] = transformer.parse_network(source)
    except RecursionError:
        raise ProgramError("the program is nested too deeply", None, None, ["fewer nested blocks"]) from None
    except Exception as error:
        raise _program_error(module, source, error) from error
    if len(model.get("layers") or []) > MAXIMUM_LAYERS:
        raise _too_many(None, None)
    return model


def _too_many(line: int | None, column: int | None) -> ProgramError:
    return ProgramError("the program has too many layers", line, column, [f"at most {MAXIMUM_LAYERS} layers"])


def _limit_repetition(source: str) -> None:
    """Refuse ``Dense(8) * 1000000000`` before the package builds that list."""
    total = 0
    for number, line in enumerate(source.splitlines(), 1):
        for match in _REPEAT.finditer(line.partition("#")[0]):
            count = int(match[1]) if len(match[1]) < 10 else MAXIMUM_LAYERS + 1
            total += count
            if total > MAXIMUM_LAYERS:
                raise _too_many(number, match.start(1) + 1)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop(0)
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += [getattr(current, "orig_exc", None), current.__cause__, current.__context__]


def _program_error(module: ModuleType, source: str, error: Exception) -> ProgramError:
    import lark

    for found in _chain(error):
        if isinstance(found, lark.UnexpectedInput):
            return _syntax_error(module, source, found)
    line = column = None
    for found in _chain(error):
        line = line or getattr(found, "line", None)
        column = column or getattr(found, "column", None)
        meta = getattr(getattr(found, "obj", None), "meta", None)
        if line is None and meta is not None and not getattr(meta, "empty", True):
            line, column = meta.line, meta.column
    validation = next((found for found in _chain(error) if isinstance(found, module.DSLValidationError)), None)
    message = str(getattr(validation, "message", "") or error).strip().splitlines()[0]
    expected = re.search(r"(?:must be|expected|requires?)\s+(.+?)(?:, got .*)?$", message)
    return ProgramError(message, line, column, [expected[1].rstrip(".")] if expected else [])


def _syntax_error(module: ModuleType, source: str, error: Any) -> ProgramError:
    import lark

    names = getattr(error, "expected", None) or getattr(error, "allowed", None) or ()
    expected = sorted({_readable(module, str(name)) for name in names})
    token = getattr(error, "token", None)
    if isinstance(error, lark.UnexpectedEOF) or (token is not None and token.type == "$END"):
        lines = source.splitlines() or [""]
        return ProgramError("the program ends too early", len(lines), len(lines[-1]) + 1, expected)
    line = error.line if error.line and error.line > 0 else None
    column = error.column if error.column and error.column > 0 else None
    found = str(token) if token is not None else str(getattr(error, "char", ""))
    return ProgramError(f"unexpected {found!r}", line, column, expected)


def _readable(module: ModuleType, terminal: str) -> str:
    """A terminal of the grammar as a user would write it."""
    if terminal in _TERMINALS:
        return _TERMINALS[terminal]
    patterns = {definition.name: definition.pattern for definition in module.network_parser.terminals}
    pattern = patterns.get(terminal)
    if pattern is not None and pattern.type == "str":
        return str(pattern.value)
    return terminal.strip("_").lower()


# --- generating ---------------------------------------------------------------------------------------------


def generate(source: str, backend: str) -> Generated:
    """Source code or ONNX model of a program. Raises ProgramError or GenerationError. One call at a time a process."""
    if backend not in BACKENDS:
        raise GenerationError(f"Backend {backend!r} is unknown: expected one of {', '.join(BACKENDS)}.")
    found: list[str] = []
    with own_directory() as directory, _silence(found):
        model = _normalised(parse(source))
        expanded = _expanded(model)
        shapes = _shapes(model, expanded)
        import neural.code_generation.code_generator as generator

        try:
            code = generator.generate_code(_copy(model), backend)
        except guard.GuardedModuleError as error:
            raise GenerationError(str(error)) from error
        except Exception as error:
            raise GenerationError(f"neural-dsl cannot generate {backend} code: {_sentence(error)}") from error
        binary = b""
        if backend == "onnx":
            binary = (directory / "model.onnx").read_bytes()
            code = _onnx_text(binary, found)
        dropped = dropped_layers(backend, expanded, code, binary)
    for layer in dropped:
        name = f"Layer {layer['index']} ({layer['type']})"
        _note(found, f"{name} was dropped: neural-dsl does not generate it for {backend}.")
    if backend != "onnx":
        for message in [*code_flaws(code, backend), *lost_details(code, backend, expanded, model)]:
            _note(found, message)
    return Generated(
        backend=backend,
        code=code,
        dropped_layers=dropped,
        warnings=found,
        shapes=shapes,
        model=model,
        binary=binary,
        layers=len(expanded),
    )


@contextlib.contextmanager
def own_directory() -> Iterator[Path]:
    """A temporary directory that is the current one while a job runs in it."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="neural-job-") as name:
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)


def _sentence(error: BaseException) -> str:
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text if isinstance(error, ValueError) else f"{type(error).__name__}: {text}"


def _copy(value: Any) -> Any:
    """A deep copy, as the package changes what it is given."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


def _normalised(model: dict[str, Any]) -> dict[str, Any]:
    """The parsed model with what the generator trips over put right: a layer without parameters has None for them."""
    model = _copy(model)
    for layer in model.get("layers", []):
        if isinstance(layer, dict) and layer.get("params") is None:
            layer["params"] = {}
    return model


def _expanded(model: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers as the generator numbers them: each repetition is a layer."""
    layers = []
    for layer in model.get("layers", []):
        count = layer.get("multiply", 1) if isinstance(layer, dict) else 1
        layers += [layer] * (count if isinstance(count, int) and count > 0 else 1)
    return layers


def dropped_layers(backend: str, layers: list[dict[str, Any]], code: str, binary: bytes = b"") -> list[dict[str, Any]]:
    """Every parsed layer of which nothing is found in what was generated; ``index`` counts from 0."""
    kept = {"pytorch": _kept_pytorch, "tensorflow": _kept_tensorflow}.get(backend)
    present = kept(layers, code) if kept else _kept_onnx(binary)
    return [
        {"index": index, "type": str(layer.get("type")), "params": json_safe(layer.get("params") or {})}
        for index, layer in enumerate(layers)
        if index not in present
    ]


def _kept_pytorch(layers: list[dict[str, Any]], code: str) -> set[int]:
    """Layers that are both made in ``__init__`` and called in ``forward``."""
    made = {int(number) for number in re.findall(r"^\s*self\.layer(\d+)_\w+ = ", code, re.MULTILINE)}
    called = {int(number) for number in re.findall(r"\bx = self\.layer(\d+)_\w+\(x\)", code)}
    return made & called & set(range(len(layers)))


def _kept_tensorflow(layers: list[dict[str, Any]], code: str) -> set[int]:
    """The generator writes nothing that says which layer a line is for: match them in order."""
    lines = [line.strip() for line in code.splitlines()]
    names = {"Output": "Dense", "TransformerEncoder": "MultiHeadAttention", "Residual": "Add"}
    position, present = 0, set()
    for index, layer in enumerate(layers):
        wanted = f"layers.{names.get(str(layer.get('type')), layer.get('type'))}("
        for number in range(position, len(lines)):
            if wanted in lines[number]:
                present.add(index)
                position = number + 1
                break
    return present


def _kept_onnx(binary: bytes) -> set[int]:
    import onnx

    outputs = [name for node in onnx.load_from_string(binary).graph.node for name in node.output]
    return {int(match[1]) for name in outputs if (match := re.fullmatch(r"layer_(\d+)_output", name))}


def _onnx_text(binary: bytes, found: list[str]) -> str:
    import onnx
    import onnx.checker
    import onnx.printer

    model = onnx.load_from_string(binary)
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        reason = _sentence(error).removeprefix("ValidationError: ")
        _note(found, f"The ONNX model that neural-dsl wrote is not valid: {reason}")
    return str(onnx.printer.to_text(model))


def code_flaws(code: str, backend: str) -> list[str]:
    """What is wrong with generated source code, found by reading it."""
    try:
        tree = ast.parse(code)
    except SyntaxError as error:
        return [f"The generated {backend} code is not valid Python: line {error.lineno}: {error.msg}."]
    flaws = []
    unapplied = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            called = ast.unparse(node.value.func)
            unapplied += called.startswith("layers.") and called != "layers.Input"
    if backend == "tensorflow" and unapplied:
        flaws.append(
            f"neural-dsl creates {unapplied} layers without applying them to the layer before: "
            "each line x = layers.…(…) still needs (x) at its end."
        )
    return flaws


def lost_details(code: str, backend: str, layers: list[dict[str, Any]], model: dict[str, Any]) -> list[str]:
    """What the generator left out of layers that it did write."""
    lost = []
    if backend == "pytorch":
        written = re.finditer(r"^\s*self\.layer(\d+)_\w+ = .*$", code, re.MULTILINE)
        lines = {int(match[1]): match[0] for match in written}
        for index, layer in enumerate(layers):
            activation = (layer.get("params") or {}).get("activation")
            if index in lines and activation and str(activation).lower() not in lines[index].lower():
                lost.append(f"Layer {index} ({layer['type']}): neural-dsl left out its activation {activation!r}.")
    declared = tuple(model["input"]["shape"])
    found = re.search(r"layers\.Input\(shape=(\(.*?\))\)", code)
    if backend == "tensorflow" and found and ast.literal_eval(found[1]) != declared:
        lost.append(f"neural-dsl wrote the input shape {found[1]} where the program says {declared}.")
    return lost


# --- shapes -------------------------------------------------------------------------------------------------


def _shapes(model: dict[str, Any], layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each layer's input and output shape, as far as the package can tell."""
    propagator = _propagator()
    shape: Any = (None, *tuple(model["input"]["shape"]))
    found: list[dict[str, Any]] = []
    for index, layer in enumerate(layers):
        entry: dict[str, Any] = {"index": index, "layer": layer.get("type"), "input_shape": json_safe(shape)}
        try:
            shape = propagator.propagate(shape, _copy(layer))
            entry["output_shape"] = json_safe(shape)
        except Exception as error:
            entry["error"] = _sentence(error)
            found.append(entry)
            break
        found.append(entry)
    return found


def _propagator() -> Any:
    guard.install()
    import psutil

    from neural.shape_propagation import shape_propagator as module

    propagator = module.ShapePropagator(debug=False)
    if psutil.disk_io_counters() is None:
        # Where the kernel shows no disks, the package's monitor fails; what it measures has no part in a shape.
        idle = {"cpu_usage": 0.0, "memory_usage": 0.0, "gpu_memory": 0, "io_usage": 0.0}
        propagator.performance_monitor.monitor_resources = lambda: dict(idle)
    return propagator


def analyze(source: str) -> dict[str, Any]:
    """Report on a program: shapes, parameters' names, the package's remarks. One call at a time a process."""
    found: list[str] = []
    with own_directory(), _silence(found):
        model = _normalised(parse(source))
        layers = _expanded(model)
        shapes = _shapes(model, layers)
        issues, optimizations = [], []
        propagator = _propagator()
        shape: Any = (None, *tuple(model["input"]["shape"]))
        for layer in layers:
            try:
                shape = propagator.propagate(shape, _copy(layer))
            except Exception:  # the shape report above says where it ends
                break
        with contextlib.suppress(Exception):
            report = propagator.generate_report()
            issues, optimizations = report.get("issues", []), report.get("optimizations", [])
    return {
        "name": model.get("name"),
        "input_shape": json_safe(model["input"]["shape"]),
        "layers": [{"index": index, "type": layer.get("type")} for index, layer in enumerate(layers)],
        "shapes": shapes,
        "output_shape": shapes[-1].get("output_shape") if shapes else None,
        "error": next((entry["error"] for entry in shapes if "error" in entry), None),
        "issues": json_safe(issues),
        "optimizations": json_safe(optimizations),
        "warnings": found,
    }


def json_safe(value: Any) -> Any:
    """The same value in what JSON knows."""
    if isinstance(value, dict):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [json_safe(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item"):
        return json_safe(value.item())
    return str(value)


# --- exporting ----------------------------------------------------------------------------------------------


def export(source: str, backend: str) -> tuple[Generated, Artifact]:
    """A program's model as a file: ONNX, or a bundle of source code, program, model and report."""
    generated = generate(source, backend)
    name = re.sub(r"[^A-Za-z0-9_-]", "_", str(generated.model.get("name") or "model"))
    if backend == "onnx":
        return generated, Artifact(f"{name}.onnx", "application/octet-stream", generated.binary)
    report = {key: value for key, value in generated.result().items() if key != "code"}
    files = {
        "model.py": generated.code,
        "program.neural": source,
        "model.json": json.dumps(json_safe(generated.model), indent=2, sort_keys=True) + "\n",
        "report.json": json.dumps(report, indent=2, sort_keys=True) + "\n",
    }
    return generated, Artifact(f"{name}-{backend}.zip", "application/zip", _bundle(files))


def _bundle(files: dict[str, str]) -> bytes:
    """A zip archive whose bytes depend on the contents only."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()
