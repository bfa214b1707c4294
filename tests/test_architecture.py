"""The arrows between the rooms: who may import whom."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("tables", "sae_models", "tracking", "pipeline", "dashboard")

# Room: other rooms it may import, and outside packages it must not.
ALLOWED = {
    "tables": (set(), {"torch", "mlflow", "streamlit"}),
    "sae_models": (set(), {"mlflow", "deltalake", "polars", "streamlit", "diffusers", "transformers"}),
    "tracking": (set(), {"torch", "deltalake", "streamlit"}),
    "pipeline": ({"tables", "sae_models", "tracking"}, {"streamlit"}),
    "dashboard": ({"tables", "tracking", "pipeline"}, {"torch", "diffusers", "transformers"}),
}
# The benchmark of the dashboard talks to a served one as a browser does, so it knows the messages; no more.
MESSAGES = ("dashboard_session.py", "streamlit.proto")


def imports(file: Path) -> set[str]:
    """Full names of all modules that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports from the root"
            found.add(node.module or "")
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room):
    rooms, forbidden = ALLOWED[room]
    assert files(room)
    for file in files(room):
        for module in imports(file):
            top = module.split(".")[0]
            if top in ROOMS and top != room:
                assert top in rooms, f"{file} imports {module}"
            if not (file.name == MESSAGES[0] and module.startswith(MESSAGES[1])):
                assert top not in forbidden, f"{file} imports {module}"


def test_the_dashboard_sees_of_the_pipeline_only_its_measures_and_of_tracking_only_its_queries():
    for file in files("dashboard"):
        for module in imports(file):
            if module.startswith("pipeline"):
                assert module.startswith("pipeline.measures"), f"{file} imports {module}"
            if module.startswith("tracking"):
                assert module in ("tracking", "tracking.queries"), f"{file} imports {module}"


def test_measures_know_neither_files_nor_tables_nor_torch():
    for file in files("pipeline/measures"):
        for module in imports(file):
            assert module.split(".")[0] not in ("torch", "tables", "tracking", "deltalake", "pathlib"), file


def test_no_stage_reads_what_the_world_knows():
    """Attributes of the embedded scenes are for benchmarks only."""
    for file in [*files("pipeline/stages"), *files("pipeline/measures")]:
        assert not any(module.startswith("pipeline.world") for module in imports(file)), file


def test_nothing_unsafe_is_called():
    """No pickle, no remote code, no raw HTML, no shell."""
    unsafe = (
        "trust_remote_code=True",
        "unsafe_allow_html=True",
        "allow_pickle=True",
        "shell=True",
        "torch.load(",
    )
    for room in ROOMS:
        for file in files(room):
            text = file.read_text(encoding="utf-8").replace(" ", "")
            assert not any(word in text for word in unsafe), file
            assert not imports(file) & {"pickle", "cPickle", "dill", "joblib"}, file
