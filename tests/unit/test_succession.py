"""What is done to the records of a log: tag, container, plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from collector.config.onigmo import compile_onigmo
from collector.entries import Pairs
from collector.filters.chain import FilterChain
from collector.identity.identity import Identity
from collector.identity.table import IdentityTable
from collector.inputs.succession import IDENTITY_WAIT_S, Plans, Succession
from collector.inputs.tail_paths import UNKNOWN_CONTAINER_ID, KubeletRoots, select, tag_of
from collector.plan import EventPlan, Field, Framing, Layout, LogPlan, Op
from collector.plugin import LogSource

UID = "0c2f9b9e-6d0e-4a2b-9f4c-1d2e3f405162"
ID = "ab" * 32
LINK_NAME = f"web-0_shop_nginx-{UNKNOWN_CONTAINER_ID}.log"
BASE = LogPlan(Framing.CRI, Layout())


class Named:
    """A filter that folds in who a log is from, and remembers what it was asked."""

    def __init__(self) -> None:
        self.sources: list[LogSource] = []

    def matches(self, tag: str) -> bool:
        return tag.startswith("kube.")

    def fold_log(self, plan: LogPlan, source: LogSource) -> LogPlan | None:
        self.sources.append(source)
        name = source.identity.pod_name if source.identity is not None else ""
        return plan.then(Field(Op.APPEND, "pod", name))

    def fold_event(self, plan: EventPlan, tag: str, identity: Identity) -> EventPlan | None:
        raise AssertionError("a log has no events")

    def apply(self, tag: str, record: Pairs, identity: Identity | None) -> Pairs | None:
        raise AssertionError("it was folded")


class World:
    """The kubelet's directories below a folder."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "var/log/pods" / f"shop_web-0_{UID}" / "nginx" / "0.log"
        self.links = folder / "var/log/containers"
        self.log.parent.mkdir(parents=True)
        self.links.mkdir()
        self.log.touch()
        self.kubelet = KubeletRoots(str(self.links), str(folder / "var/log/pods"))
        self.filter = Named()
        self.identities = IdentityTable.open("node-1", str(folder))
        self.plans = Plans(BASE, "kube.*", "file", self.kubelet, self.identities, FilterChain((self.filter,)))

    def link(self) -> str:
        path = self.links / f"web-0_shop_nginx-{ID}.log"
        path.symlink_to(self.log)
        return str(path)

    def succession(self, place: Path, path: str) -> Succession:
        made = self.plans.succession(str(place), 0.0)
        made.path = path
        return made


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_a_link_has_all_names(world: World) -> None:
    path = world.link()
    succession = world.succession(world.log, path)
    assert world.plans.settle(succession, 0.0)
    identity = succession.identity
    assert identity is not None
    assert (identity.namespace, identity.pod_name, identity.container_name) == ("shop", "web-0", "nginx")
    assert (identity.container_id, identity.pod_uid) == (ID, UID)
    assert succession.tag == "kube" + path.replace("/", ".")
    assert succession.plan.steps == (Field(Op.APPEND, "file", path), Field(Op.APPEND, "pod", "web-0"))
    assert world.filter.sources == [LogSource(succession.tag, path, identity)]


def test_a_container_without_an_id_is_waited_for_a_little(world: World) -> None:
    succession = world.succession(world.log, str(world.log))
    assert not world.plans.settle(succession, 0.0)
    assert not succession.is_planned
    assert world.plans.settle(succession, IDENTITY_WAIT_S)
    assert succession.identity is not None
    assert succession.identity.pod_uid == UID
    assert succession.identity.container_id == ""


def test_a_file_of_nobody_is_not_waited_for(world: World, tmp_path: Path) -> None:
    succession = world.succession(tmp_path / "audit.log", str(tmp_path / "audit.log"))
    assert world.plans.settle(succession, 0.0)
    assert succession.identity is None


def test_the_link_that_was_never_made(world: World) -> None:
    ours, others = select([f"{world.links}/*.log"], []), select([f"{world.links}/x*.log"], [])
    place = str(world.log)
    expected = f"{world.links}/web-0_shop_nginx-{UNKNOWN_CONTAINER_ID}.log"
    assert world.plans.link_of(place, ours) == expected
    assert world.plans.link_of(place, others) is None
    assert world.plans.link_of("/var/log/syslog", ours) is None
    world.link()
    assert world.plans.link_of(place, ours) == f"{world.links}/web-0_shop_nginx-{ID}.log"


def test_news_concern_the_container_they_are_about(world: World) -> None:
    succession = world.succession(world.log, world.link())
    assert not world.plans.concerns(succession, Identity("node-1", ID))
    world.plans.settle(succession, 0.0)
    assert world.plans.concerns(succession, Identity("node-1", ID))
    assert not world.plans.concerns(succession, Identity("node-1", "cd" * 32))
    succession.identity = Identity("node-1", pod_uid=UID, container_name="nginx")
    assert world.plans.concerns(succession, Identity("node-1", ID, pod_uid=UID, container_name="nginx"))
    assert not world.plans.concerns(succession, Identity("node-1", ID, pod_uid=UID, container_name="x"))


def test_what_was_missed_has_the_tag_of_its_link(tmp_path: Path) -> None:
    world = World(tmp_path)
    pattern = compile_onigmo(r"(?<pod>[^_/]+)_[^/]*$")
    plans = Plans(
        BASE, "kube.<pod>", "", world.kubelet, world.identities, FilterChain(()), tag_pattern=pattern
    )
    mine, others = (select([f"{world.links}/{name}-*.log"], []) for name in ("web", "db"))
    assert world.plans.tag_of_missed(str(world.log), mine) == tag_of("kube.*", f"{world.links}/{LINK_NAME}")
    assert plans.tag_of_missed(str(world.log), mine) == "kube.web-0"
    assert plans.tag_of_missed(str(world.log), others) is None
