import base64
import hashlib
import json
import re

from sagan.studio.asked import MOST_FILM_FRAMES
from sagan.studio.films import MOST_FILM_PIXELS
from sagan.studio.page import front_files, page_at, policy_of, server_page


def test_the_import_map_names_every_module():
    [listed] = re.findall(r'<script type="importmap">(.*?)</script>', server_page(), re.DOTALL)
    imports = json.loads(listed)["imports"]
    modules = {name for name in front_files() if name.endswith(".js")}
    assert imports.pop("studio/back.js") == "/front/server.js"
    assert imports == {f"studio/{name}": f"/front/{name}" for name in modules}
    assert {"main.js", "server.js", "backend.js"} <= modules


def test_no_module_imports_what_the_map_does_not_name():
    known = {f"studio/{name}" for name in [*front_files(), "back.js"]}
    for name, text in front_files().items():
        imported = re.findall(r'^(?:import|export) .*?from "(.*?)";|^import "(.*?)";', text, re.M)
        assert {one or other for one, other in imported} <= known, name


def test_the_page_keeps_to_the_bounds_of_the_server():
    assert f"MOST_FRAMES = {MOST_FILM_FRAMES};" in front_files()["paths.js"]
    [power] = re.findall(r"MOST_PIXELS = 2 \*\* (\d+);", front_files()["walk.js"])
    assert 2 ** int(power) == MOST_FILM_PIXELS


def test_nothing_is_left_to_fill_in():
    assert "<!--" not in server_page()


def test_a_map_cannot_end_its_script():
    page = page_at({"a.js": "data:</script><script>alert(1)</script>"}, "")
    assert "</script><script>" not in page
    assert "alert(1)" in page


def test_the_policy_allows_the_inline_scripts_and_no_others():
    page = '<script type="importmap">{}</script><script src="/x.js"></script>'
    policy = policy_of(page)
    digest = base64.b64encode(hashlib.sha256(b"{}").digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
