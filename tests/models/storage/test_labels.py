"""What a move does to the labels of a model; their file is `test_store`'s."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.storage.labels import Labels

MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("promote"), st.integers(1, 5)),
        st.tuples(st.just("rollback"), st.sets(st.integers(1, 5))),
        st.tuples(st.just("forget"), st.sets(st.integers(1, 5))),
    ),
    max_size=30,
)


@given(MOVES)
def test_a_label_is_a_stack_of_versions(moves: list[tuple[str, object]]) -> None:
    """Against the plainest account: a list whose last entry is where it stands."""
    labels, stack, count = Labels(), [], 0
    labels.promote("other", 1)
    for move, what in moves:
        if move == "promote":
            labels.promote("a", what)  # type: ignore[arg-type]
            if stack[-1:] != [what]:
                stack.append(what)
            count += 1
        elif stack and move == "rollback":
            earlier = [v for v in stack[:-1] if v in what]  # type: ignore[operator]
            assert labels.rollback("a", what) == (earlier[-1] if earlier else None)  # type: ignore[arg-type]
            if earlier:
                stack, count = earlier, count + 1
        elif stack:
            labels.forget(what)  # type: ignore[arg-type]
            stack = [v for v in stack[:-1] if v not in what] + stack[-1:]  # type: ignore[operator]
        if stack:
            label = labels.labels["a"]
            assert [*label.previous, label.version] == stack
    assert len(labels.history) == count + 1
    assert labels.labels["other"].version == 1


def test_a_share_lasts_until_the_label_is_set_again() -> None:
    labels = Labels()
    labels.promote("candidate", 2, share=0.1)
    labels.promote("candidate", 2, share=0.5)
    label = labels.labels["candidate"]
    assert (label.version, label.previous, label.share) == (2, [], 0.5)
    labels.promote("candidate", 3, shadow=True)
    label = labels.labels["candidate"]
    assert (label.previous, label.share, label.shadow) == ([2], 0.0, True)
    assert labels.rollback("candidate", {2, 3}) == 2
    label = labels.labels["candidate"]
    assert (label.share, label.shadow) == (0.0, False)
    assert [change.action for change in labels.history] == [
        *("share 0.1", "share 0.5", "shadow", "rollback")
    ]
