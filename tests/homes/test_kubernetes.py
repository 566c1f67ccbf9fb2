"""The manifests: valid, strictly, for an old and a new Kubernetes, and what they promise of probes and rights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from dispatcher.config import load
from dispatcher.core.settings import FolderSettings
from dispatcher.web.health import LIVE, READY, STARTUP
from tests.conftest import missing

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
MANIFESTS = sorted(path for path in FOLDER.glob("*/*.yaml") if path.name != "kustomization.yaml")
KUSTOMIZATIONS = sorted(FOLDER.glob("*/kustomization.yaml"))
VERSIONS = ["1.29", "1.37"]
"""The first one with native sidecars switched on, and the newest one known."""
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def read(path: Path) -> Any:
    return YAML(typ="safe").load(path.read_text())


def name(path: Path) -> str:
    return str(path.relative_to(FOLDER))


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every pod that the manifests make, by its kind."""
    for path in MANIFESTS:
        spec = read(path).get("spec", {})
        template = spec.get("template") or spec.get("jobTemplate", {}).get("spec", {}).get("template")
        if template is not None:
            yield read(path)["kind"], template["spec"]


PODS = dict(pods())


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=name)
def test_each_manifest_is_valid(path: Path, version: str) -> None:
    try:
        from kubernetes_validate import ValidationError, validate  # noqa: PLC0415 - a laptop may lack it
    except ImportError:
        missing("kubernetes-validate")
        raise
    manifest = read(path)
    validate(manifest, version, strict=True)
    manifest["metadata"]["labelz"] = {}
    with pytest.raises(ValidationError, match="labelz"):
        validate(manifest, version, strict=True)


@pytest.mark.parametrize("path", KUSTOMIZATIONS, ids=name)
def test_a_kustomization_names_every_file_beside_it(path: Path) -> None:
    beside = {each.name for each in path.parent.iterdir()} - {path.name}
    assert set(read(path)["resources"]) == beside
    assert {read(each)["metadata"].get("namespace", "media") for each in path.parent.iterdir() if each != path} == {
        read(path)["namespace"]
    }


@pytest.mark.parametrize("kind", PODS)
def test_a_pod_has_no_rights_that_it_does_not_need(kind: str) -> None:
    pod = PODS[kind]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"].items() >= {"runAsNonRoot": True, "runAsUser": 65532}.items()
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod["containers"] + pod.get("initContainers", []):
        assert container["securityContext"] == RESTRICTED


def test_probes_ask_what_depends_on_nothing_else() -> None:
    [replica] = PODS["Deployment"]["containers"]
    [sidecar] = PODS["StatefulSet"]["initContainers"]
    for container in (replica, sidecar):
        assert container["livenessProbe"]["httpGet"]["path"] == LIVE
        assert container["startupProbe"]["httpGet"]["path"] == STARTUP
    assert replica["readinessProbe"]["httpGet"]["path"] == READY


def test_the_sidecar_is_native_shares_the_media_and_never_makes_the_pod_unready() -> None:
    pod = PODS["StatefulSet"]
    [sidecar], [application] = pod["initContainers"], pod["containers"]
    assert sidecar["restartPolicy"] == "Always"
    assert "readinessProbe" not in sidecar
    mounts = {each["name"]: each for each in sidecar["volumeMounts"]}
    assert mounts["media"]["mountPath"] in {each["mountPath"] for each in application["volumeMounts"]}
    assert mounts["media"]["readOnly"] is True
    assert mounts["ledger"]["mountPath"] == "/var/lib/oss-dispatcher"


def test_a_file_serves_one_pod_and_three_replicas_share_postgresql() -> None:
    manifests = {read(path)["kind"]: read(path) for path in MANIFESTS}
    assert manifests["StatefulSet"]["spec"]["replicas"] == 1
    assert manifests["Deployment"]["spec"]["replicas"] == 3
    assert manifests["Secret"]["stringData"]["url"].startswith("postgresql://")
    for kind in ("Deployment", "CronJob"):
        [variable] = PODS[kind]["containers"][0]["env"]
        assert variable["name"] == "OSS_DISPATCHER_LEDGER__URL"
        assert variable["valueFrom"]["secretKeyRef"]["name"] == manifests["Secret"]["metadata"]["name"]


def test_a_pod_has_time_for_the_drain(tmp_path: Path) -> None:
    settings = config(FOLDER / "deployment" / "configmap.yaml", tmp_path)
    for pod in PODS.values():
        assert pod["terminationGracePeriodSeconds"] > settings.drain_timeout.total_seconds() + 10


@pytest.mark.parametrize("home", ["deployment", "sidecar"])
def test_the_configurations_load_and_the_kubelet_reaches_the_probes(home: str, tmp_path: Path) -> None:
    settings = config(FOLDER / home / "configmap.yaml", tmp_path)
    assert str(settings.http.listen) == "0.0.0.0:8080"
    folders = [str(source.path) for source in settings.sources if isinstance(source, FolderSettings)]
    assert folders == (["/media"] if home == "sidecar" else [])


def config(path: Path, tmp_path: Path) -> Any:
    text = read(path)["data"]["oss-dispatcher.yaml"]
    (tmp_path / "oss-dispatcher.yaml").write_text(text)
    return load(tmp_path / "oss-dispatcher.yaml", {"OSS_DISPATCHER_LEDGER__URL": "sqlite:///ledger.db"})


def test_a_backfill_that_cannot_succeed_is_not_tried_again_and_one_that_paused_goes_on() -> None:
    job = next(read(path) for path in MANIFESTS if read(path)["kind"] == "CronJob")["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    rules = job["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]
    assert {rule["action"]: rule["onExitCodes"]["values"] for rule in rules} == {
        "FailJob": [2, 77, 78],
        "Ignore": [75],
    }
    assert PODS["CronJob"]["containers"][0]["args"][:2] == ["backfill", "--rule"]
