"""The laws of exporters and importers break for each fault, and say what to do."""

from __future__ import annotations

import pytest

from nablafx_core.testing import pack_results
from reference.registered import faulty, plugin, preset_file, results, told

CONVERSION = (("model", "nablafx_core.testing.tiny:TinyModel", {"controls": [{"name": "a"}]}),)


@pytest.mark.parametrize(
    ("writer", "reader", "law", "failure"),
    [
        (
            "refuses",
            "",
            "writes or refuses every model",
            "the exporter refused all 4 models",
        ),
        (
            "raises",
            "",
            "writes or refuses every model",
            "for echo, the exporter raised TypeError: only TinyModel. (reference/faulty.py:LINE). ",
        ),
        (
            "leaves",
            "",
            "writes or refuses every model",
            "refusing echo, the exporter left left.bin; expected no file.",
        ),
        (
            "beside",
            "",
            "writes or refuses every model",
            "writing tinymodel, the exporter left beside.bin, model.tiny; expected model.tiny.",
        ),
        (
            "spoils",
            "",
            "writes or refuses every model",
            "for tinymodel, the exporter changed weight of the model. Work on a copy.",
        ),
        (
            "rounds",
            "",
            "is imported as it was",
            "tinymodel, exported and imported by reader, renders differently: measured 0.000",
        ),
        (
            "",
            "no knobs",
            "is imported as it was",
            "tinymodel, exported and imported by reader, has 0 knobs instead of 1.",
        ),
        (
            "",
            "own rate",
            "is imported as it was",
            "tinymodel, exported and imported by reader, has sample_rate 8000 instead of 48000.",
        ),
        (
            "",
            "trusts",
            "damage is refused",
            "for a file of 0 bytes that begins with b'', it raised JSONDecodeError: Expecting value: line 1 column 1 "
            "(char 0) (reference/faulty.py:LINE). Refuse such a file with a ConversionError that says why.",
        ),
        (
            "",
            "reads nothing",
            "damage is refused",
            "the importer read an empty file. Refuse it with",
        ),
        (
            "",
            "trains",
            "what it reads fits a bundle",
            "tinymodel: the imported model is in training mode. Return model.eval().",
        ),
        (
            "",
            "unsaved",
            "what it reads fits a bundle",
            "tinymodel, imported and saved as a bundle, renders differently: measured",
        ),
    ],
)
def test_a_faulty_exporter_or_importer_breaks_its_law(install, writer, reader, law, failure):
    found = results(
        install,
        ("model", "reference.toys:Echo", {"latency": 1}),
        *CONVERSION,
        faulty("exporter", "Writer", writer),
        faulty("importer", "Reader", reader),
    )
    (said,) = [result.failure for (_, name), result in found.items() if name == law and result.failure]
    assert told(said, failure)


def test_an_exporter_is_tried_on_the_presets_where_no_registered_model_fits(install):
    install(
        "nablafx-acme",
        plugin(faulty("exporter", "Writer"))
        + "@hookimpl\ndef nablafx_presets():\n    return [Component('p', 'acme_files:p.yaml', '')]\n",
    )
    preset_file(install, "model: {name: nablafx_core.testing.tiny:TinyModel}")
    found = {(result.kind, result.law): result for result in pack_results("acme")}
    assert found["exporter", "writes or refuses every model"].measured == 2  # without knobs, and with two
