"""What is wrong in a policy file is said with its place."""

from pathlib import Path

import pytest

from app.domain.access.policy_files import FieldMode, PolicyFileError, read_policy_files


def test_comments_and_blank_lines_are_skipped_and_quoted_text_may_have_commas(tmp_path: Path) -> None:
    (tmp_path / "roles.csv").write_text(
        '# a comment\n\nrole, clerk, Clerk, "Files, and copies"\np, clerk, *, file, read, allow\n'
    )
    files = read_policy_files(tmp_path)
    assert files.roles[0].description == "Files, and copies"
    assert files.lines[0].source == "policies/roles.csv line 4"


@pytest.mark.parametrize(
    ("name", "content", "place"),
    [
        ("trades.csv", "p, clerk, *, trade, read\n", "policies/trades.csv line 1: write `p, role"),
        ("trades.csv", "p, clerk, *, trade, read, perhaps\n", "policies/trades.csv line 1: write `p, role"),
        ("trades.csv", "# ok\np, clerk, , trade, read, allow\n", "policies/trades.csv line 2: a value is missing"),
        ("field_groups.csv", "access, clerk, internal, read\n", "policies/field_groups.csv line 1"),
        ("field_groups.csv", "group, user, email, standard\n", "policies/field_groups.csv line 1"),
        ("conflicts.csv", 'clerk, clerk, "same"\n', "policies/conflicts.csv line 1"),
        ("row_conditions.yaml", "- {entity: trade}\n", "policies/row_conditions.yaml entry 1"),
        (
            "row_conditions.yaml",
            "- {entity: trade, condition: {}, colour: red}\n",
            "policies/row_conditions.yaml entry 1",
        ),
        ("row_conditions.yaml", "- {entity: [", "policies/row_conditions.yaml: not YAML"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_line(tmp_path: Path, name: str, content: str, place: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(PolicyFileError) as refused:
        read_policy_files(tmp_path)
    assert str(refused.value).startswith(place)


def test_field_modes_of_a_role_are_read_by_group(tmp_path: Path) -> None:
    (tmp_path / "field_groups.csv").write_text("group, user, email, contact\naccess, clerk, contact, mask\n")
    files = read_policy_files(tmp_path)
    assert files.field_groups == {("user", "email"): "contact"}
    assert files.field_access == {("clerk", "contact"): FieldMode.MASK}
