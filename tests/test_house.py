"""The house rules that a machine can check: who imports whom, what may be public, how long a function is."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]

# The one statement of the order: a module may import only modules above it.
ORDER = [
    "spectra.errors",
    "spectra.checks",
    "spectra.kernels",
    "spectra.results",
    "spectra.scaling",
    "spectra.threads",
    "spectra.lapack",
    "spectra.schur",
    "spectra.gallery",
    "spectra.spectrum",
    "spectra.cost",
    "spectra.layout",
    "spectra.gpu",
    "spectra.resolvent",
    "spectra.grid",
    "spectra.real_form",
    "spectra.real_distance",
    "spectra.inverse_lanczos",
    "spectra.pencils",
    "spectra.standard",
    "spectra.real_pseudospectra",
    "spectra.real_structured",
    "spectra.square_pencils",
    "spectra.rectangular",
    "spectra.projection",
    "spectra.sparse_pencils",
    "spectra.operators",
    "spectra.lanczos",
    "spectra.norms",
    "spectra.convolution",
    "spectra.distribution",
    "spectra.power_law",
    "spectra.nonnormality",
    "spectra.rotations",
    "spectra.eigenvectors",
    "spectra.conditioning",
    "spectra.normality",
    "spectra.modes",
    "spectra.supporting_lines",
    "spectra.ando",
    "spectra.outermost",
    "spectra.field_of_values",
    "spectra.curves",
    "spectra.minima",
    "spectra.polish",
    "spectra.criss_cross",
    "spectra.extremes",
    "spectra.three_circles",
    "spectra.stability",
    "spectra.propagators",
    "spectra.growth",
    "spectra.norm_curves",
    "spectra.transients",
    "spectra.pseudospectra",
    "spectra.overview",
    "spectra.plots.canvas",
    "spectra.plots.portrait",
    "spectra.plots.transients",
    "spectra.plots.distribution",
    "spectra.plots.modes",
    "spectra.plots.numerical_range",
    "spectra.plots",
    "rnn.networks",
    "rnn.networks.cell_steps",
    "rnn.networks.parametrizations",
    "rnn.networks.cell_kinds",
    "rnn.networks.configurations",
    "rnn.networks.initial_weights",
    "rnn.networks.sequences",
    "rnn.networks.recurrent",
    "rnn.networks.feed_forward",
    "rnn.networks.scalable_matrices",
    "rnn.networks.modes",
    "rnn.networks.outputs",
    "rnn.models",
    "rnn.constraints",
    "rnn.data",
    "rnn.data.task",
    "rnn.data.splits",
    "rnn.data.data_files",
    "rnn.data.idx_files",
    "rnn.data.images",
    "rnn.data.japanese_vowels",
    "rnn.data.ecg5000",
    "rnn.data.memory_tasks",
    "rnn.tasks",
    "rnn.learning",
    "rnn.learning.records",
    "rnn.learning.objectives",
    "rnn.learning.checkpoints",
    "rnn.training",
    "rnn.extra",
    "rnn.reading",
    "rnn.reading.tensors",
    "rnn.reading.neighbours",
    "rnn.reading.safetensor_files",
    "rnn.reading.numpy_files",
    "rnn.reading.onnx_tensors",
    "rnn.reading.onnx_folding",
    "rnn.reading.onnx_functions",
    "rnn.reading.onnx_names",
    "rnn.reading.onnx_layers",
    "rnn.reading.onnx_graphs",
    "rnn.reading.shards",
    "rnn.reading.hub_folders",
    "rnn.reading.layer_kinds",
    "rnn.reading.packed",
    "rnn.reading.modules",
    "rnn.reading.pickle_machine",
    "rnn.reading.pickles",
    "rnn.reading.pickled_arrays",
    "rnn.reading.pickled_tensors",
    "rnn.reading.packed_notes",
    "rnn.reading.pickled_modules",
    "rnn.reading.mappings",
    "rnn.reading.zip_records",
    "rnn.reading.legacy_files",
    "rnn.reading.archives",
    "rnn.reading.sources",
    "rnn.reading.factors",
    "rnn.reading.matrices",
    "rnn.reading.gates",
    "rnn.reading.attention",
    "rnn.weights",
    "rnn.motion",
    "rnn.motion.cells",
    "rnn.motion.unrolled",
    "rnn.motion.twins",
    "rnn.attacking",
    "rnn.attacking.weight_slots",
    "rnn.motion.recordings",
    "rnn.motion.drives",
    "rnn.motion.jacobians",
    "rnn.dynamics",
    "rnn.motion.descent",
    "rnn.motion.rest_points",
    "rnn.motion.equilibria",
    "rnn.bounds",
    "rnn.bounds.recurrent_bounds",
    "rnn.bounds.layer_bounds",
    "rnn.bounds.graph_operations",
    "rnn.bounds.network_graphs",
    "rnn.bounds.slopes",
    "rnn.bounds.lipschitz",
    "rnn.motion.lyapunov",
    "rnn.motion.propagation",
    "rnn.motion.readouts",
    "rnn.motion.kick_directions",
    "rnn.motion.kicks",
    "rnn.measuring",
    "rnn.measuring.measured_matrix",
    "rnn.measuring.measures",
    "rnn.measuring.rounding",
    "rnn.measuring.number_formats",
    "rnn.attacking.extremal_perturbations",
    "rnn.watching",
    "rnn.watching.time_budget",
    "rnn.watching.tracked_matrices",
    "rnn.watching.training_measures",
    "rnn.watching.sinks",
    "rnn.watching.callbacks",
    "rnn.watching.lightning_adapter",
    "rnn.details",
    "rnn.report",
    "rnn.pages",
    "rnn.pages.images",
    "rnn.findings",
    "rnn.pages.terms",
    "rnn.pages.detail_figures",
    "rnn.pages.matrix_words",
    "rnn.pages.picture_words",
    "rnn.pages.matrix_cards",
    "rnn.pages.primer",
    "rnn.pages.diagnosis_page",
    "rnn.motion.layer_dynamics",
    "rnn.motion.network_dynamics",
    "rnn.pages.frames",
    "rnn.pages.dynamics_figures",
    "rnn.pages.page_sections",
    "rnn.diagnosis",
    "rnn.examination",
    "rnn.comparison",
    "rnn.reading.rebuilding",
    "rnn.attacking.length_arguments",
    "rnn.attacking.answers",
    "rnn.attacking.question_checks",
    "rnn.attacking.bench",
    "rnn.attacking.padding",
    "rnn.reading.labelled_examples",
    "rnn.attacking.threats",
    "rnn.attacking.losses",
    "rnn.attacking.objectives",
    "rnn.attacking.first_looks",
    "rnn.attacking.apgd",
    "rnn.attacking.half_spaces",
    "rnn.attacking.minimal_norms",
    "rnn.attacking.square",
    "rnn.attacking.noise",
    "rnn.attacking.corruptions",
    "rnn.attacking.pgd",
    "rnn.attacking.ensemble",
    "rnn.attacks",
    "rnn.attacking.attack_checks",
    "rnn.attacking.strength",
    "rnn.attacking.rounds",
    "rnn.attacking.repeats",
    "rnn.attacking.verdicts",
    "rnn.harness",
    "rnn.bounds.straight_programs",
    "rnn.bounds.traced_programs",
    "rnn.bounds.interval_bounds",
    "rnn.bounds.linear_relaxation",
    "rnn.bounds.certification",
    "rnn.study",
    "rnn.study.workers",
    "rnn.study.executors",
    "rnn.study.engine",
    "rnn.study.trials",
    "rnn.study.network_rows",
    "rnn.study.experiment",
    "rnn.study.toml_places",
    "rnn.study.settings",
    "rnn.study.grids",
    "rnn.study.configuration",
    "rnn.study.database",
    "rnn.study.faults",
    "rnn.study.locks",
    "rnn.study.trial_files",
    "rnn.study.store",
    "rnn.study.backups",
    "rnn.study.estimates",
    "rnn.study.status",
    "rnn.study.selection",
    "rnn.study.tables",
    "rnn.study.recording",
    "rnn.study.runs",
    "rnn.study.blocks",
    "rnn.study.corrections",
    "rnn.study.resampled_ranks",
    "rnn.study.resampling",
    "rnn.study.permutations",
    "rnn.study.permuted_ranks",
    "rnn.study.block_tables",
    "rnn.study.partial",
    "rnn.study.gains",
    "rnn.study.random_effects",
    "rnn.study.correlation_tables",
    "rnn.study.prediction",
    "rnn.study.granulated",
    "rnn.study.power",
    "rnn.study.statistics",
    "rnn.study.evidence_columns",
    "rnn.study.evidence_tables",
    "rnn.study.evidence",
    "rnn.study.seed_intervals",
    "rnn.study.criteria",
    "rnn.study.claims",
    "rnn.attacking.bracket_verdicts",
    "rnn.attacking.brackets",
    "rnn.attacking.universal_verdicts",
    "rnn.attacking.universal_ascent",
    "rnn.attacking.universal",
    "rnn.attacking.weight_ascent",
    "rnn.attacking.weight_verdicts",
    "rnn.attacking.weight_perturbations",
    "rnn.figures",
    "rnn.watching.training_figures",
    "rnn.motion.kick_figures",
    "rnn.attacking.curve_figures",
    "rnn.study.findings",
    "rnn.study.demo_words",
    "rnn.study.demo_pages",
    "rnn.study.demo",
    "rnn.study.study_columns",
    "rnn.study.summary",
    "rnn.study.study_numbers",
    "rnn.study.study_figures",
    "rnn.study.study_words",
    "rnn.study.study_pictures",
    "rnn.study.study_terms",
    "rnn.study.study_tables",
    "rnn.study.study_page",
    "rnn.study.study_report",
    "rnn.study.probes",
    "rnn.study.model_rows",
    "rnn.study.correlation_findings",
    "rnn.study.correlation_page",
    "rnn.study.model_correlations",
    "rnn.study.own_models",
    "rnn.study.folder_files",
    "rnn.study.checkpoint_trials",
    "rnn.study.checkpoint_folder",
    "rnn.files",
    "rnn.terminal",
    "rnn.supervision",
    "rnn.options",
    "rnn.verbs",
    "rnn.verbs.needs",
    "rnn.verbs.texts",
    "rnn.verbs.padded",
    "rnn.verbs.interrupts",
    "rnn.verbs.demo",
    "rnn.verbs.pseudospectrum",
    "rnn.verbs.diagnose",
    "rnn.verbs.train",
    "rnn.verbs.attack",
    "rnn.verbs.universal",
    "rnn.verbs.perturb",
    "rnn.verbs.kicks",
    "rnn.verbs.correlate",
    "rnn.verbs.study",
    "rnn.cli",
]

# Third parties with one home: only these modules may import them at all.
HOMES = {
    "numba": {"spectra.kernels"},
    "llvmlite": {"spectra.kernels"},
    "matplotlib": {
        "rnn.pages.detail_figures",
        "rnn.pages.dynamics_figures",
        "rnn.figures",
        "rnn.pages.images",
        "rnn.motion.kick_figures",
        "rnn.study.study_figures",
        "rnn.attacking.curve_figures",
        "rnn.watching.training_figures",
        "spectra.plots.*",
    },
    "typer": {"rnn.cli", "rnn.options", "rnn.verbs.*"},
    "rich": {"rnn.terminal"},
}
LAZY = {"matplotlib"}  # and even there only inside functions
LONGEST = 70  # lines of a function, docstring not counted


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(path for package in ("spectra", "rnn") for path in (ROOT / package).rglob("*.py"))
MODULES = {module_name(path): path for path in FILES}
ROOMS = [name for name in MODULES if name not in {"spectra", "rnn"}]
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}


def imports(tree: ast.AST) -> list[str]:
    """Full dotted names of everything imported, at any depth."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write the full name"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def top_level_imports(tree: ast.AST) -> list[str]:
    """The imports that run when the module is imported (the type checker's own block does not)."""
    found: list[str] = []
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            found += imports(node)
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            found += top_level_imports(node)
    return found


def room_of(name: str) -> str | None:
    """The room of this project that an imported dotted name lies in."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def rank(name: str) -> int:
    return ORDER.index(name)


def functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def inside_fork_rng(tree: ast.AST) -> set[ast.AST]:
    """Everything inside a `with torch.random.fork_rng(...)`, after which torch is as it was."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.With)]
    forks = [block for block in blocks if any("fork_rng(" in ast.unparse(item) for item in block.items)]
    return {node for block in forks for node in ast.walk(block)}


def public_objects() -> list[tuple[str, str]]:
    found = []
    for package in ("spectra", "rnn"):
        found += [(package, name) for name in getattr(importlib.import_module(package), "__all__", [])]
    found += [
        ("spectra.gallery", node.name)
        for node in TREES["spectra.gallery"].body
        if isinstance(node, ast.FunctionDef)
    ]
    found += [("spectra.plots", name) for name in importlib.import_module("spectra.plots").__all__]
    return [(room, name) for room, name in found if not name.startswith("_")]


def test_every_room_has_its_place_in_the_order() -> None:
    assert len(ORDER) == len(set(ORDER))
    assert sorted(ORDER) == sorted(ROOMS)


@pytest.mark.parametrize("name", ROOMS)
def test_imports_run_one_way(name: str) -> None:
    for target in imports(TREES[name]):
        room = room_of(target)
        if room is None or name == room:
            continue
        if room in {"spectra", "rnn"}:  # the front door, which opens every room lazily
            assert rank(name) > max(rank(other) for other in ROOMS if other.startswith(f"{room}.")), (
                f"{name} imports the front door of {room} from inside: name the room"
            )
        else:
            assert rank(room) < rank(name), f"{name} imports {room}, which comes later in ORDER"


@pytest.mark.parametrize("name", ["spectra", "rnn"])
def test_the_front_doors_import_no_room(name: str) -> None:
    assert [target for target in imports(TREES[name]) if room_of(target)] == []


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("spectra")])
def test_spectra_knows_neither_rnn_nor_torch(name: str) -> None:
    packages = {target.partition(".")[0] for target in imports(TREES[name])}
    assert "rnn" not in packages
    assert name == "spectra.gpu" or "torch" not in packages
    assert "torch" not in {target.partition(".")[0] for target in top_level_imports(TREES[name])}


@pytest.mark.parametrize("name", MODULES)
def test_third_parties_stay_at_home(name: str) -> None:
    for target in imports(TREES[name]):
        package = target.partition(".")[0]
        homes = HOMES.get(package, {name})
        assert {name, f"{name.rpartition('.')[0]}.*"} & homes, f"{name} imports {package}, at home in {homes}"
    for target in top_level_imports(TREES[name]):
        assert target.partition(".")[0] not in LAZY, f"{name} imports {target} outside a function"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_junk_drawers(path: Path) -> None:
    assert path.stem not in {"utils", "util", "core", "helpers", "common", "misc"}


@pytest.mark.parametrize("name", [name for name in MODULES if name != "spectra.kernels"])
def test_functions_are_short(name: str) -> None:
    for function in functions(TREES[name]):
        doc = function.body[0] if ast.get_docstring(function, clean=False) is not None else None
        written = 0 if doc is None else (doc.end_lineno or 0) - doc.lineno + 1
        lines = (function.end_lineno or 0) - function.lineno + 1 - written
        assert lines <= LONGEST, f"{name}.{function.name} has {lines} lines"


@pytest.mark.parametrize("name", MODULES)
def test_nothing_unpickles_and_nothing_seeds_the_world(name: str) -> None:
    for node in ast.walk(TREES[name]):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert called not in {
            "pickle.load",
            "pickle.loads",
            "joblib.load",
            "pandas.read_pickle",
            "pd.read_pickle",
        }
        assert called not in {"np.random.seed", "numpy.random.seed", "random.seed"}
        assert called != "torch.manual_seed" or node in inside_fork_rng(TREES[name])
        assert called != "torch.load" or given.get("weights_only") == "True"
        assert called not in {"np.load", "numpy.load"} or given.get("allow_pickle") == "False"


@pytest.mark.parametrize(
    "name", [name for name in MODULES if name not in {"rnn.cli", "rnn.supervision", "rnn.terminal"}]
)
def test_only_the_command_line_prints(name: str) -> None:
    calls = [ast.unparse(node.func) for node in ast.walk(TREES[name]) if isinstance(node, ast.Call)]
    assert "print" not in calls


@pytest.mark.parametrize("package", ["spectra", "rnn"])
def test_no_lazy_name_is_the_name_of_a_room(package: str) -> None:
    """The first access would give the object, and the second the module."""
    names = set(importlib.import_module(package)._ROOM_OF)
    assert names
    assert names.isdisjoint(name.removeprefix(f"{package}.") for name in ROOMS)


@pytest.mark.parametrize(("room", "name"), public_objects())
def test_public_names_exist_and_are_documented(room: str, name: str) -> None:
    value = getattr(importlib.import_module(room), name)
    if isinstance(value, ModuleType):
        assert value.__name__ == f"{room}.{name}"
        assert value.__doc__
        return
    doc = inspect.getdoc(value)
    assert doc
    assert doc.split("\n")[0].endswith("."), "the first line is one sentence"
    if inspect.isfunction(value):
        assert "Returns\n-------" in doc or value.__annotations__["return"] == "None"
        assert ">>> " in doc or room.startswith("rnn") or room == "spectra.plots"


@pytest.mark.parametrize(("room", "name"), public_objects())
def test_options_past_the_second_argument_are_keyword_only(room: str, name: str) -> None:
    value = getattr(importlib.import_module(room), name)
    if not inspect.isfunction(value):
        return
    parameters = list(inspect.signature(value).parameters.values())
    keyword = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD)
    for parameter in parameters[2:]:
        assert parameter.default is parameter.empty or parameter.kind in keyword, parameter.name


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import spectra", ["torch", "numba", "matplotlib", "scipy"]),
        ("import rnn", ["torch", "numba", "matplotlib", "pandas"]),
        ("import rnn.cli", ["numpy", "torch", "numba", "matplotlib", "pandas"]),
    ],
)
def test_imports_stay_light(statement: str, absent: list[str]) -> None:
    script = f"import sys; {statement}; print([name for name in {absent!r} if name in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
