"""The task `import-onnx`: a bundle from an ONNX file of somebody's own. No torch."""

from pathlib import Path

import onnx

from libs.registry.errors import ImportRefused
from libs.registry.import_config import ImportConfig, ImportOnnxConfig
from libs.registry.model_files import FileKind, model_file_kind
from libs.registry.onnx_checks import drop_final_softmax, parameter_count, read_graph, signature
from libs.serving.bundle import MODEL_FILE, ClassifierBundle, Lineage, write_bundle
from libs.serving.errors import LoadError
from libs.serving.latency import measure_latency
from libs.serving.probe import probe
from libs.serving.session import ModelSession
from libs.training.run import Inputs, Outcome, Run

_PROBE_ROWS = 8


def run(config: ImportOnnxConfig, inputs: Inputs, run: Run) -> Outcome:
    """Check the uploaded graph, try it, and write a bundle.

    Raises:
        ImportRefused: the file is no ONNX graph, is unsafe, or does not fit the recipe and labels.
    """
    folder = run.folder / "bundle"
    bundle = import_onnx(uploaded_file(inputs, "onnx"), config, folder)
    run.progress(1.0, "imported")
    return Outcome(bundle=folder, details={"parameters": bundle.parameters, "labels": len(bundle.labels)})


def import_onnx(file: Path, config: ImportConfig, folder: Path) -> ClassifierBundle:
    """Make a bundle of an ONNX file.

    Raises:
        ImportRefused: it is invalid, unsafe, no image classifier, or fails when it is run.
    """
    model = read_graph(file)
    spec_in, spec_out = signature(model, config.recipe, config.labels)
    had_softmax = drop_final_softmax(model)
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(folder / MODEL_FILE))
    bundle = ClassifierBundle(
        architecture="onnx",
        labels=config.labels,
        recipe=config.recipe,
        inputs=[spec_in],
        outputs=[spec_out],
        temperature=config.temperature,
        parameters=parameter_count(model),
        lineage=Lineage(method="import", config={"file": "onnx", "softmax_dropped": had_softmax}),
    )
    session = _tried(bundle, folder)
    return write_bundle(folder, bundle.model_copy(update={"latency": measure_latency(session, spec_in)}))


def uploaded_file(inputs: Inputs, kind: FileKind) -> Path:
    """The file a job was given to import: `upload` in the folder of the role `upload`.

    Raises:
        ImportRefused: there is none, or it is of another kind.
    """
    folder = inputs.datasets.get("upload")
    if folder is None or not (folder / "upload").is_file():
        raise ImportRefused("There is no uploaded file to import.")
    found = model_file_kind(folder / "upload")
    if found != kind:
        raise ImportRefused(f"This is a {found} file; the job imports {kind}. Submit it as import-{found}.")
    return folder / "upload"


def _tried(bundle: ClassifierBundle, folder: Path) -> ModelSession:
    try:
        session = ModelSession(folder / MODEL_FILE)
        probe(session, bundle, folder, _PROBE_ROWS)
    except LoadError as error:
        raise ImportRefused(
            f"The graph cannot be served: {error}. If it was exported for one batch size, export it with a free one."
        ) from error
    return session
