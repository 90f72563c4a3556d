"""What is to be done with networks, volumes and secrets."""

from __future__ import annotations

from stackpy.planning import fields, ignoring, reasons
from stackpy.planning.draft import Draft
from stackpy.planning.plan import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackpy.dsl.specs import Spec
    from stackpy.planning.plan import Observed


def network(spec: Spec, observed: Observed | None, *, anew: bool = False) -> Draft | None:
    """Labels change in place; anything else needs another bridge, and so does `anew`."""
    draft = _plain(spec, observed, fields.NETWORK)
    if not anew or observed is None:
        return draft
    return Draft("network", spec.name, Action.REPLACE, [reasons.asked(), *(draft.reasons if draft else ())])


def volume(spec: Spec, observed: Observed | None) -> Draft | None:
    """A volume is never replaced: that would lose data. Only its labels can change."""
    return _plain(spec, observed, fields.VOLUME)


def _plain(spec: Spec, observed: Observed | None, policy: Mapping[str, fields.Field]) -> Draft | None:
    if observed is None:
        return Draft(spec.kind, spec.name, Action.CREATE, [reasons.absent()])
    wanted = ignoring.kept(spec.fields, observed.live)
    differences = fields.compare(policy, wanted, observed.live, observed.applied)
    if lost := observed.live.get("lost"):
        # What uses it is made anew with it.
        what = "bridge" if spec.kind == "network" else "folder"
        return Draft(spec.kind, spec.name, Action.CREATE, [reasons.absent(f"its {what} {lost} is gone")])
    if not differences:
        return None
    in_place = all(difference.policy == fields.IN_PLACE for difference in differences)
    why = [reasons.of_difference(difference) for difference in differences]
    return Draft(spec.kind, spec.name, Action.UPDATE if in_place else Action.REPLACE, why)


def secret(spec: Spec, observed: Observed | None, fingerprint: str | None) -> Draft | None:
    """A secret whose value is not at hand stays as the engine holds it."""
    if observed is None:
        return Draft("secret", spec.name, Action.CREATE, [reasons.absent()])
    if fingerprint is None:
        return None
    if observed.live.get("fingerprint") != fingerprint:
        return Draft("secret", spec.name, Action.UPDATE, [reasons.of_value("value", reasons.VALUE_CHANGES)])
    if not observed.live.get("available", True):
        return Draft("secret", spec.name, Action.UPDATE, [reasons.of_value("value", reasons.VALUE_LOST)])
    wanted, before = (
        {name: values[name] for name in fields.SECRET if name in values} for values in (spec.fields, observed.applied)
    )
    changed = [reasons.of_difference(one) for one in fields.compare(fields.SECRET, wanted, {}, before)]
    return Draft("secret", spec.name, Action.UPDATE, changed) if changed else None
