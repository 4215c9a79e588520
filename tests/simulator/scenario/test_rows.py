"""One call a row of a table: what becomes of its values, and what is said of mistakes in it."""

from pathlib import Path

import pytest

from callerside.simulator.scenario.loader import ScenarioError, load, load_file

CALL = """\
about: <who> wants <count>.
rows: people.csv
realtime:
  timing: {think_ms: <ms>}
steps:
  - say: "For <count>, please."
  - press: "<count>"
    when: reply + <ms>ms
  - hang_up
"""
ROWS = "who,count,ms\nAnn,4,300\nBob,2,150\n"


def written(folder: Path, table: str | bytes | None = ROWS, call: str = CALL) -> Path:
    if table is not None:
        data = table.encode() if isinstance(table, str) else table
        (folder / "people.csv").write_bytes(data)
    path = folder / "call.yaml"
    path.write_text(call)
    return path


def told(folder: Path, table: str | bytes | None = ROWS, call: str = CALL) -> str:
    with pytest.raises(ScenarioError) as raised:
        load_file(written(folder, table, call))
    return str(raised.value).replace(f"{folder}/", "")


def test_each_row_is_a_call_with_its_values(tmp_path: Path) -> None:
    ann, bob = load([written(tmp_path)])
    assert (ann.name, bob.name) == ("call-1", "call-2")
    assert (ann.about, bob.about) == ("Ann wants 4.", "Bob wants 2.")
    assert (ann.realtime.timing.think_ms, bob.realtime.timing.think_ms) == (300, 150)
    assert [step.describe() for step in bob.steps[:2]] == [
        'say "For 2, please."',
        "press 2 (when reply + 150 ms)",
    ]


@pytest.mark.parametrize(
    "table",
    [
        "\ufeffwho;count;ms\r\nAnn;4;300\r\n\r\nBob;2;150\r\n;;\r\n",
        "who\tcount\tms\rAnn\t4\t300\rBob\t2\t150",
        '"who",count , "ms"\n"Ann","4","300"\nBob,2,"150"\n'.replace(' "ms"', "ms"),
    ],
)
def test_tables_are_read_as_programs_write_them(tmp_path: Path, table: str) -> None:
    found = load([written(tmp_path, table)])
    assert [(one.about, one.realtime.timing.think_ms) for one in found] == [
        ("Ann wants 4.", 300),
        ("Bob wants 2.", 150),
    ]


def test_wrong_quotes_hide_no_other_mistake(tmp_path: Path) -> None:
    table = 'who,count,ms\n"Ann"s,4,3\nBob,4\nEve,4,soon\nKim,4,"3\nLee,4\n'
    lines = told(tmp_path, table).splitlines()
    assert {line.partition(": ")[0] for line in lines} == {
        f"people.csv:{place}" for place in ("2:5", "3:5", "4:7", "5:7")
    }
    assert told(tmp_path, '"who"s,count,ms\nAnn,4\n').count("people.csv") == 1, "no columns"


def test_quotes_hold_separators_ends_of_lines_and_quotes(tmp_path: Path) -> None:
    table = 'who,count,ms\n"Bean, ""B""\nBob",2,100\nAnn,x,later\n'
    lines = told(tmp_path, table).splitlines()
    places = ["people.csv:4:5", "people.csv:4:7", "people.csv:4:7"]
    assert [line.partition(": ")[0] for line in lines] == places
    written(tmp_path, table.replace("x,later", "4,300"))
    assert load([tmp_path])[0].about == 'Bean, "B"\nBob wants 2.'


def test_a_column_may_name_the_calls_and_a_matrix_stands_beside_the_rows(tmp_path: Path) -> None:
    table = "call,who,count,ms\nann,Ann,4,300\nbob bean,Bob,2,150\n"
    call = CALL + "matrix: {caller.codec: [PCMU, G722]}\n"
    names = [one.name for one in load([written(tmp_path, table, call)])]
    assert names == ["call-ann-PCMU", "call-ann-G722", "call-bob-bean-PCMU", "call-bob-bean-G722"]


def test_included_steps_take_values_and_a_suite_lies_below(tmp_path: Path) -> None:
    (tmp_path / "ask.steps.yaml").write_text('steps: [{say: "I am <who>."}, {pause: <ms>}]\n')
    (tmp_path / "suite.yaml").write_text("caller: {user: suite}\n")
    call = CALL.replace('  - say: "For <count>, please."\n', "  - include: ask.steps.yaml\n")
    ann, _ = load([written(tmp_path, call=call)])
    assert [step.describe() for step in ann.steps[:2]] == ['say "I am Ann."', "pause 300 ms"]
    assert ann.caller.user == "suite"
    wrong = told(tmp_path, ROWS.replace("300", "3 hours"), call)
    assert "people.csv:2:7: pause: '3 hours' is no duration" in wrong


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (None, "call.yaml:2:7: rows: 'people.csv' cannot be read: No such file or directory"),
        ("", "people.csv:1:1: expected the names of columns in the first line"),
        ("\ufeff", "people.csv:1:1: expected the names of columns in the first line"),
        ("\n\n", "people.csv:1:1: expected the names of columns in the first line"),
        ("who,count,ms\n", "people.csv:1:1: there is no row below the names of the columns"),
        ("who,,ms\na,b,c\n", "people.csv:1:5: column 2 has no name"),
        ("who,who,ms\na,b,c\n", "people.csv:1:5: who is the name of columns 1 and 2"),
        ("who,co\u202eunt,ms\na,b,c\n", r"people.csv:1:5: 'co\u202eunt' is no name of a column"),
        ("who,<count>,ms\na,b,c\n", "people.csv:1:5: '<count>' is no name of a column"),
        ("who,cuont,ms\na,b,c\n", "call.yaml:1:8: the rows have no column 'count'; did you mean"),
        ("who,count,ms\nAnn,4\n", "people.csv:2:5: 2 cells here, and the first line names 3 colu"),
        ("who,count,ms\nAnn,4,3,\n", "people.csv:2:9: 4 cells here, and the first line names 3 co"),
        ("who,count,ms\nAnn,,3\n", "people.csv:2:5: count has no value here, and call.yaml:1:8 n"),
        ('who,count,ms\nAnn,"4,3\n\n', "people.csv:2:5: this quote is not closed"),
        ('who,count,ms\nAnn,"4"x,3\n', "people.csv:2:7: the quotes end here, and more follows"),
        ("who,count,ms\nAnn,4,soon\n", "people.csv:2:7: think_ms: expected a number"),
        (f"who,count,ms\nAnn,4,{'9' * 5000}\n", "people.csv:2:7: '9999"),
        (b"who,count,ms\nJos\xe9,4,3\n", "people.csv:2:4: not a text file in UTF-8"),
        ("who,count,ms,call\na,4,3,x\nb,4,3,x!\n", "people.csv:3:7: call: this call would be ca"),
        ("who,count,ms,call\na,4,3,!\n", "people.csv:2:7: call: '!' names no call"),
        ("who,count,ms\n" + "a,4,3\n" * 1001, "people.csv:1002:1: 1001 rows, at most 1000 are"),
    ],
)
def test_a_mistake_is_told_with_its_place(
    tmp_path: Path, table: str | bytes | None, expected: str
) -> None:
    found = told(tmp_path, table)
    assert expected in found.splitlines()[0]


def test_what_is_no_table_or_too_much_is_told(tmp_path: Path) -> None:
    assert "call.yaml:2:7: rows: expected the name of a CSV" in told(
        tmp_path, call=CALL.replace("people.csv", "3")
    )
    plain = "about: x\nrows: people.csv\nsteps: [hang_up]\n"
    assert told(tmp_path, call=plain) == (
        "call.yaml:2:7: rows: no value of a row is used: write <who> where one belongs"
    )
    many = CALL + "matrix: {caller.codec: [PCMU, G722]}\n"
    table = "who,count,ms\n" + "a,4,300\n" * 501
    assert "call.yaml:2:7: more than 1000 calls, with rows and a matrix" in told(
        tmp_path, table, many
    )


def test_a_cell_that_no_call_can_be_called_by_is_told_where_it_comes_from(tmp_path: Path) -> None:
    said = f"[{'a' * 90}, b]"
    call = f"about: x\nsteps:\n  - say: a\n  - hang_up\nmatrix: {{steps.0.say: {said}}}\n"
    mistake = told(tmp_path, None, call)
    assert mistake.startswith("call.yaml:5:1: 'call-aaa")
    assert "`rows`, whose column `call` names each call" in mistake


def test_what_stands_in_two_pairs_of_angle_brackets_is_text_in_one(tmp_path: Path) -> None:
    call = CALL.replace("about: <who>", "about: <<who>> is <who>, <<b>>")
    first, _ = load([written(tmp_path, call=call)])
    assert first.about == "<who> is Ann, <b> wants 4."
    assert "no column 'b' (expected who, count, ms; <<b>> is the text <b>)" in told(
        tmp_path, call=CALL.replace("<who>", "<b>")
    )
