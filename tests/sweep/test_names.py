"""Names and seeds are made of a run's parameters alone."""

from __future__ import annotations

from farm_merge.sweep.names import LONGEST_ID, abbreviations, run_id, run_seed


def test_names_with_the_same_initials_are_spelled_out() -> None:
    assert abbreviations(["share_amount", "system_agents", "resources", "learning_rate"]) == {
        "share_amount": "share_amount",
        "system_agents": "system_agents",
        "resources": "res",
        "learning_rate": "lr",
    }


def test_a_name_is_readable_and_safe_as_a_file_s() -> None:
    short = {"learning_rate": "lr", "kind": "kin"}
    assert run_id(short, {"learning_rate": 0.1}, 3) == "lr0.1_r3"
    unsafe = [run_id(short, {"kind": text}, 1) for text in ("../x", "..:x", "x" * 100)]
    assert len(set(unsafe)) == 3
    assert all(len(name) <= LONGEST_ID and "/" not in name and ":" not in name for name in unsafe)


def test_a_seed_depends_on_the_root_the_parameters_and_the_repetition() -> None:
    seed = run_seed(1, {"a": 1, "b": 2}, 1)
    assert seed == run_seed(1, {"b": 2, "a": 1}, 1)
    others = [run_seed(2, {"a": 1, "b": 2}, 1), run_seed(1, {"a": 2, "b": 2}, 1)]
    others.append(run_seed(1, {"a": 1, "b": 2}, 2))
    assert len({seed, *others}) == 4
    assert all(0 <= other < 2**53 for other in others)
