"""The files that bear one name one after the other, and what their records become."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from collector.config.onigmo import Pattern
from collector.filters.chain import FilterChain, Rest
from collector.identity.identity import Identity
from collector.identity.paths import read_container_link
from collector.identity.table import IdentityTable
from collector.inputs.follow import FollowedFile
from collector.inputs.missed_names import missed_name
from collector.inputs.tail_parser import Step as ParserStep
from collector.inputs.tail_paths import UNKNOWN_CONTAINER_ID, KubeletRoots, Selection, tag_of
from collector.native.logs import DEFAULT_MAX_RECORD_BYTES
from collector.plan import Field, LogPlan, Op
from collector.plugin import LogSource

# The first records of a container wait so long for its id; names are in the path, so this is for the rest.
IDENTITY_WAIT_S = 1.0


@dataclass(slots=True, eq=False)
class Succession:
    """Files of one place, oldest first; they are read in that order.

    `path` is the name that the tag is made of, "" while it is not known yet.
    """

    place: str
    plan: LogPlan
    since_s: float  # CLOCK_MONOTONIC
    path: str = ""
    tag: str = ""
    identity: Identity | None = None
    rest: Rest = ()
    is_planned: bool = False
    written_ns: int = 0  # when its last file was written last, wall clock; 0: it had none
    was_rotated: bool = False  # the last file that was left
    files: list[FollowedFile] = field(default_factory=list)

    def before(self, file: FollowedFile) -> Iterator[FollowedFile]:
        for other in self.files:
            if other is file:
                return
            yield other

    def hurry_before(self, file: FollowedFile) -> None:
        """It has no name any more, and what is read before it goes where it goes: to the spool if need be."""
        for other in self.before(file):
            other.vanishing.is_before_gone = True

    def first_up_to_gone(self) -> FollowedFile | None:
        """The oldest file, if it or a later one has no name any more."""
        for file in self.files:
            if file.is_gone:
                self.hurry_before(file)
                return self.files[0]
        return None

    def after(self, file: FollowedFile) -> FollowedFile | None:
        place = self.files.index(file) + 1
        return self.files[place] if place < len(self.files) else None


class Plans:
    """Works out what is done to the records of a succession."""

    def __init__(
        self,
        plan: LogPlan,
        tag: str,
        path_key: str,
        kubelet: KubeletRoots,
        identities: IdentityTable,
        chain: FilterChain,
        *,
        tag_pattern: Pattern | None = None,
        folds: bool = True,
        step: ParserStep | None = None,
        max_record_bytes: int = DEFAULT_MAX_RECORD_BYTES,
    ) -> None:
        """`folds` False: records are worked on after the plan, so filters have to see them.

        So they have when they can't come before `step`, which is done to records first.
        """
        self.max_record_bytes = max_record_bytes
        self._plan = plan
        self._tag = tag
        self._path_key = path_key
        self._kubelet = kubelet
        self._identities = identities
        self._chain = chain
        self._folds = folds
        self._step = step
        self._tag_pattern = tag_pattern

    def succession(self, place: str, now_s: float) -> Succession:
        return Succession(place, self._plan, now_s)

    def settle(self, succession: Succession, now_s: float) -> bool:
        """Plans a succession that has a name; False: its container is not known yet, ask again soon."""
        identity = self._identify(succession)
        lacks_id = self._is_of_pod(succession) and (identity is None or not identity.container_id)
        if lacks_id and now_s < succession.since_s + IDENTITY_WAIT_S:
            return False
        tag = tag_of(self._tag, succession.path, self._tag_pattern)
        source = LogSource(tag, succession.path, identity)
        if self._chain.is_waiting(source, now_s - succession.since_s):
            return False
        plan = self._plan
        if self._path_key:
            plan = plan.then(Field(Op.APPEND, self._path_key, succession.path))
        plan, rest = self._planned(source, plan)
        succession.tag, succession.identity, succession.rest = tag, identity, rest
        succession.is_planned = True
        if plan != succession.plan:
            succession.plan = plan
            for file in succession.files:
                file.log.set_plan(plan)
        return True

    def _planned(self, source: LogSource, plan: LogPlan) -> tuple[LogPlan, Rest]:
        if self._folds:
            folded, rest = self._chain.log_plan(source, plan)
            if self._step is None or self._step.allows(folded.steps[len(plan.steps) :]):
                return folded, rest
        _, rest = self._chain.record_plan(source.tag)
        return plan, rest

    def _identify(self, succession: Succession) -> Identity | None:
        """By the file, whose path has the pod's uid, and by the link, whose name has the container's id."""
        by_file = self._identities.by_log_path(succession.place)
        if by_file is not None and by_file.container_id:
            return by_file
        by_link = self._identities.by_log_path(succession.path)
        if by_link is None or by_file is None:
            return by_link or by_file
        return replace(by_link, pod_uid=by_link.pod_uid or by_file.pod_uid)

    def _is_of_pod(self, succession: Succession) -> bool:
        if self._kubelet.log_name(succession.place) is not None:
            return True
        return read_container_link(os.path.basename(succession.path)) is not None

    def concerns(self, succession: Succession, identity: Identity) -> bool:
        """Whether news of this container are news of the succession."""
        known = succession.identity
        if known is None:
            return False
        if known.container_id:
            return known.container_id == identity.container_id
        return (known.pod_uid, known.container_name) == (identity.pod_uid, identity.container_name)

    def link_of(self, place: str, selection: Selection) -> str | None:
        """The name that the kubelet's link would have had; None where it is not one of the selection."""
        name = self._kubelet.log_name(place)
        if name is None:
            return None
        identity = self._identities.by_log_path(place)
        container_id = identity.container_id if identity is not None else ""
        link = self._kubelet.link_path(name, container_id or UNKNOWN_CONTAINER_ID)
        return link if selection.wants(link) else None

    def tag_of_missed(self, path: str, selection: Selection) -> str | None:
        """Of a log, or a directory of logs, that nobody could open; None: it was not one of the selection."""
        name = missed_name(path, selection, self._kubelet)
        return None if name is None else tag_of(self._tag, name, self._tag_pattern)
