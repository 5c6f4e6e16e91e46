from test_cli import mistake, run


def test_a_report_is_written_where_asked(trained_run, tmp_path, capsys):
    output = tmp_path / "deep" / "page.html"
    assert run("report", trained_run, "-o", output) == 0
    assert capsys.readouterr().out == f"{output}\n"
    assert output.read_text().startswith("<!doctype html>")


def test_mistakes_are_one_line(tmp_path, capsys):
    assert "nowhere is no run folder" in mistake(capsys, "report", tmp_path / "nowhere")
