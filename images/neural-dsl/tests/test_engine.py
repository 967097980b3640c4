"""Parsing, generating, and telling what the published package lost on the way."""

from __future__ import annotations

import ast
import io
import json
import logging
import tempfile
import zipfile
from pathlib import Path

import pytest

from neural.api import engine


def test_every_dropped_layer_is_named(program: str) -> None:
    found = engine.generate(program, "pytorch")
    assert [(layer["index"], layer["type"]) for layer in found.dropped_layers] == [
        (0, "Conv2D"),
        (1, "MaxPooling2D"),
        (2, "Flatten"),
    ]
    for index, kind in ((0, "Conv2D"), (1, "MaxPooling2D"), (2, "Flatten")):
        expected = f"Layer {index} ({kind}) was dropped: neural-dsl does not generate it for pytorch."
        assert expected in found.warnings
    assert "Layer 3 (Dense): neural-dsl left out its activation 'relu'." in found.warnings


def test_nothing_dropped_nothing_said(dense_program: str) -> None:
    found = engine.generate(dense_program, "pytorch")
    assert (found.dropped_layers, found.warnings, found.layers) == ([], [], 3)
    ast.parse(found.code)


def test_lower_case_layers_are_the_same_layers(dense_program: str) -> None:
    lower = dense_program.replace("Dense", "dense").replace("Dropout", "dropout").replace("Output", "output")
    found = engine.generate(lower, "pytorch")
    total = len(found.dropped_layers) + found.code.count("x = self.layer")
    assert total == 3, "a layer is in the code, or it is named"


def test_repeated_layers_are_counted(dense_program: str) -> None:
    found = engine.generate(dense_program.replace("Dense(units=8)", "Dense(units=8) * 3"), "pytorch")
    assert found.layers == 5
    assert found.code.count("nn.Linear(") == 4


def test_tensorflow_flaws_are_named(program: str) -> None:
    found = engine.generate(program, "tensorflow")
    assert found.dropped_layers == []
    assert any("creates 6 layers without applying them" in warning for warning in found.warnings)
    assert any(
        "wrote the input shape (28, 1) where the program says (28, 28, 1)" in warning for warning in found.warnings
    )


def test_tensorflow_drops_are_named(program: str) -> None:
    found = engine.generate(program.replace("Flatten()", "GaussianNoise(stddev=0.1)\n    Flatten()"), "tensorflow")
    assert [layer["type"] for layer in found.dropped_layers] == ["GaussianNoise"]


def test_layers_are_matched_in_order() -> None:
    layers = [{"type": "Dense"}, {"type": "Conv2D"}, {"type": "Dense"}]
    code = "x = layers.Dense(units=1)\nx = layers.Dense(units=2)\n"
    assert [layer["index"] for layer in engine.dropped_layers("tensorflow", layers, code)] == [1]


def test_a_layer_that_is_made_but_not_called_is_dropped() -> None:
    code = "self.layer0_dense = nn.Linear(1, 1)\nself.layer1_dense = nn.Linear(1, 1)\nx = self.layer1_dense(x)\n"
    assert [layer["index"] for layer in engine.dropped_layers("pytorch", [{"type": "Dense"}] * 2, code)] == [0]


def test_onnx_is_real_and_its_flaws_are_named(program: str) -> None:
    import onnx

    found = engine.generate(program, "onnx")
    model = onnx.load_from_string(found.binary)
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    assert [layer["index"] for layer in found.dropped_layers] == [1, 2, 3, 4, 5]
    assert any("is not valid" in warning for warning in found.warnings)


def test_code_that_is_not_python_is_named() -> None:
    assert engine.code_flaws("x = (", "pytorch")[0].startswith("The generated pytorch code is not valid Python: line 1")


def test_jobs_leave_nothing_behind_and_print_nothing(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path.cwd()
    for backend in engine.BACKENDS:
        engine.generate(program, backend)
    engine.analyze(program)
    assert Path.cwd() == before
    assert not (before / "model.onnx").exists()
    assert not list(Path(tempfile.gettempdir()).glob("neural-job-*"))
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_the_packages_own_warnings_are_kept() -> None:
    found: list[str] = []
    with engine._silence(found):
        logging.getLogger("neural.code_generation.code_generator").warning("a warning")
        logging.getLogger("neural.code_generation.code_generator").info("no warning")
        logging.getLogger("neural.code_generation.code_generator").warning("Current input shape: (1,)")
    assert found == ["a warning"]


def test_shapes(program: str) -> None:
    report = engine.analyze(program)
    assert [entry["output_shape"] for entry in report["shapes"]][-1] == report["output_shape"] == [None, 10]
    assert report["error"] is None
    broken = engine.analyze(program.replace("    Flatten()\n", ""))
    assert "Dense layer expects 2D input" in broken["error"]
    json.dumps(broken)


@pytest.mark.parametrize("backend", engine.BACKENDS)
def test_artefacts_have_the_same_bytes_each_time(program: str, backend: str) -> None:
    first, second = engine.export(program, backend)[1], engine.export(program, backend)[1]
    assert first.sha256 == second.sha256
    assert first.name.startswith("Mnist")


def test_bundle_has_code_program_model_and_report(program: str) -> None:
    generated, artifact = engine.export(program, "pytorch")
    with zipfile.ZipFile(io.BytesIO(artifact.content)) as bundle:
        assert bundle.read("model.py").decode() == generated.code
        assert bundle.read("program.neural").decode() == program
        assert len(json.loads(bundle.read("model.json"))["layers"]) == 6
        assert len(json.loads(bundle.read("report.json"))["dropped_layers"]) == 3


@pytest.mark.parametrize(
    ("before", "after", "line", "column", "expected"),
    [
        ("Flatten()", "Flatten(", 7, 10, None),
        ("Dense(units=128", "Dense(-5", 7, 5, "a positive integer"),
        ("layers:", "layer:", 3, 3, "layers"),
        ("Conv2D", "Foo", 4, 5, "conv2d"),
        ("(28, 28, 1)", "28", 2, 10, "("),
        ("network", "net", 1, 1, "network"),
        ("rate=0.5", "rate=7", 8, 18, "a decimal number"),
        ("Dropout(rate=0.5)", "Dropout(rate=0.5) * 9999999999", 8, 25, "at most 2000 layers"),
    ],
)
def test_where_a_program_does_not_parse(
    program: str, before: str, after: str, line: int, column: int, expected: str | None
) -> None:
    assert before in program
    with pytest.raises(engine.ProgramError) as caught:
        engine.parse(program.replace(before, after))
    error = caught.value
    assert (error.line, error.column) == (line, column)
    assert error.expected
    assert expected is None or expected in error.expected
    assert error.message


def test_a_program_that_ends_too_early(program: str) -> None:
    with pytest.raises(engine.ProgramError, match="ends too early") as caught:
        engine.parse(program.rstrip().removesuffix("}"))
    assert caught.value.line == 11
    assert caught.value.expected


def test_hostile_programs_are_refused_and_not_followed() -> None:
    for source in (
        "",
        "{" * 50_000,
        "network X { input: (1,2) layers: " + "TransformerEncoder(){" * 20_000,
        "\x00",
        "é" * 1000,
    ):
        with pytest.raises(engine.ProgramError):
            engine.parse(source)
    with pytest.raises(engine.ProgramError, match="too many layers"):
        engine.parse("network X { input: (1,2) layers:\n" + "Dense(units=1) * 1999\n" * 2 + "}")
