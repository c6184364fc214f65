"""The listing: complete, the same every time, safe, and good to read in a real browser."""

import functools
import hashlib
import html.parser
import http.server
import json
import re
import struct
import threading

import pytest

from connector_build import bizagi_facts, checks, listing, xchange
from tests.conftest import MANIFEST, ROOT
from tests.packaging.conftest import edit_json, edit_text, put

INSTALL = listing.File("twilio-1.0.0.bizc", b"the file to install")
PYTHON = listing.File("twilio-1.0.0.zip", b"the package")
GALLERY = ["gallery/1-process.png", "gallery/2-doctor.png", "gallery/3-outputs.png"]


@pytest.fixture(scope="module")
def made():
    return listing.listing(ROOT, INSTALL, PYTHON)


def digest(content):
    return hashlib.sha256(content).hexdigest()


def page(made, code):
    return made[f"instructions.{code}.html"].decode()


class Outline(html.parser.HTMLParser):
    """The headings, ids, links and whatever would be fetched of a page."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.ids, self.links, self.fetched = [], [], [], []
        self.language, self.open = None, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag == "html":
            self.language = given["lang"]
        if tag in ("h1", "h2", "h3", "h4"):
            self.open = tag
            self.headings.append([tag, ""])
        if "id" in given:
            self.ids.append(given["id"])
        if tag == "a":
            self.links.append(given["href"])
        if tag in ("script", "iframe", "object", "embed", "form", "link", "base"):
            self.fetched.append(tag)
        self.fetched += [given[name] for name in ("src", "srcset", "action") if name in given]

    def handle_endtag(self, tag):
        if tag == self.open:
            self.open = None

    def handle_data(self, data):
        if self.open:
            self.headings[-1][1] += data


def test_listing_has_these_files(made):
    assert sorted(made) == [
        *(*GALLERY, "icon.png", "icon.svg", "instructions.en.html", "instructions.es.html"),
        "listing.json",
    ]


def test_item_has_the_fields_of_the_xchange_in_both_languages(made):
    item = json.loads(made["listing.json"])
    languages = item.pop("languages")
    assert item == {
        "guid": MANIFEST["guid"],
        "name": "Twilio",
        "version": MANIFEST["version"],
        "updated": item["updated"],
        "author": MANIFEST["author"],
        "homepage": MANIFEST["homepage"],
        "costType": "free",
        "categories": MANIFEST["categories"],
        "icon": "icon.svg",
        "gallery": GALLERY,
        **{
            key: {"name": file.name, "bytes": len(file.content), "sha256": digest(file.content)}
            for key, file in (("installFile", INSTALL), ("pythonPackage", PYTHON))
        },
    }
    assert f"## [{MANIFEST['version']}] - {item['updated']}" in (ROOT / "CHANGELOG.md").read_text()
    assert list(languages) == ["en", "es"]
    for code, texts in languages.items():
        fields = ["name", "overview", "description", "detail", "categories", "costType"]
        assert list(texts) == [*fields, "instructions"]
        assert texts["instructions"] in made
        assert all(texts.values())
        assert "<" not in texts["overview"]
        assert texts["detail"].count("<li>") == len(MANIFEST["actions"])
        assert texts["description"] in (MANIFEST["description"], languages["es"]["description"])
        assert (texts["description"] == MANIFEST["description"]) == (code == "en")


def test_icons_are_a_drawing_and_a_square_picture(made):
    assert made["icon.svg"].lstrip().startswith(b"<svg")
    width, height = struct.unpack(">II", made["icon.png"][16:24])
    assert width == height


@pytest.mark.parametrize(
    ("code", "sections"),
    [
        (
            "en",
            "Overview|Before you start|Installing and updating|Configuring the connector|"
            "Using the connector|Mapping the outputs|When an action fails|"
            "Switch off automatic retries|How long an activity may take|"
            "Line breaks and percent signs|The log|What is not known for certain",
        ),
        (
            "es",
            "Descripción general|Antes de comenzar|Instalación y actualización|"
            "Configurar el conector|Usar el conector|Mapeo de las salidas|Si una acción falla|"
            "Desactive los reintentos automáticos|Cuánto puede tardar una actividad|"
            "Saltos de línea y signos de porcentaje|El registro (log)|"
            "Lo que no se sabe con certeza",
        ),
    ],
    ids=["en", "es"],
)
def test_instructions_have_the_sections_of_the_xchange(made, code, sections):
    outline = Outline(page(made, code))
    assert outline.language == code
    assert [text for tag, text in outline.headings if tag == "h2"] == sections.split("|")
    names = [text for tag, text in outline.headings if tag == "h3"]
    assert names[2:] == [action["displayName"] for action in MANIFEST["actions"]]
    assert len([1 for tag, _ in outline.headings if tag == "h4"]) == 3 * len(MANIFEST["actions"])


@pytest.mark.parametrize("code", listing.LANGUAGES)
def test_instructions_name_every_parameter_input_and_output(made, code):
    text = page(made, code)
    for entry in [*MANIFEST["parameters"], *bizagi_facts.options(MANIFEST)]:
        assert f"<li><code>{entry['name']}</code> (" in text
    for action in MANIFEST["actions"]:
        (article,) = re.findall(rf'<article id="{action["name"]}">.*?</article>', text, re.DOTALL)
        assert action["documentation"] in article
        for way in ("input", "output"):
            schema = json.loads((ROOT / action[way]).read_text("utf-8"))
            for name in schema["properties"]:
                assert f"<td><code>{name}</code>" in article
    outputs = [(ROOT / action["output"]).read_text("utf-8") for action in MANIFEST["actions"]]
    assert text.count("price</code></td>") == sum(output.count('"price": {') for output in outputs)
    assert text.count("OUTCOME_UNKNOWN") == 1


@pytest.mark.parametrize("code", listing.LANGUAGES)
def test_instructions_bring_everything_with_them_and_run_nothing(made, code):
    outline = Outline(page(made, code))
    assert [
        address for address in outline.fetched if not address.startswith("data:image/svg+xml")
    ] == []
    assert "url(" not in page(made, code)
    assert all(link.startswith(("https://www.twilio.com/", "#")) for link in outline.links)
    inside = {link[1:] for link in outline.links if link.startswith("#")}
    assert inside <= set(outline.ids)
    assert len(set(outline.ids)) == len(outline.ids)
    assert "default-src 'none'" in page(made, code)


def test_no_english_description_is_left_in_the_spanish_page(made):
    english, spanish = page(made, "en"), page(made, "es")
    for entry in MANIFEST["parameters"]:
        said = entry["description"].replace("'", "&#39;")
        assert said in english
        assert said not in spanish


def test_the_same_sources_give_the_same_bytes(made, tree):
    assert listing.listing(tree, INSTALL, PYTHON) == made


def test_markup_in_a_description_is_shown_and_not_obeyed(tree):
    said = "<script>alert(1)</script> & more."
    edit_json(tree / "connector.json", lambda it: put(it, "parameters.0.description", said))
    edit_text(
        tree / "marketplace" / "listing" / "es.yaml",
        "translations:",
        f"translations:\n  - {{of: '{said}', is: '{said}'}}",
    )
    edit_text(
        tree / "marketplace" / "listing" / "en.yaml",
        "Complete the validations",
        "<b onclick=a()>Complete</b> them",
    )
    made = listing.listing(tree, INSTALL, PYTHON)
    for code in listing.LANGUAGES:
        assert "<script>" not in page(made, code)
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more." in page(made, code)
    assert "<b onclick" not in page(made, "en")


def test_a_connector_of_one_action_says_so(tree):
    edit_json(tree / "connector.json", lambda it: put(it, "actions", it["actions"][:1]))
    made = listing.listing(tree, INSTALL, PYTHON)
    assert "The connector has one action." in page(made, "en")
    assert "El conector tiene una acción." in page(made, "es")


@pytest.mark.parametrize(
    ("code", "body"),
    [("en", "Your appointment is tomorrow at 10:00."), ("es", "Su cita es mañana a las 10:00.")],
)
def test_examples_are_what_bizagi_gets_in_the_language_of_the_page(made, code, body):
    text = page(made, code)
    shown = [
        json.loads(html.unescape(example))
        for example in re.findall("<pre><code>(.*?)</code>", text, re.S)
    ]
    given, sent, _, delivered, listed = shown[:5]  # the document's three actions come first
    assert given["body"] == sent["body"] == delivered["body"] == body
    assert (sent["status"], sent["price"], sent["date_sent"]) == ("queued", None, None)
    assert (delivered["status"], delivered["price"]) == ("delivered", -0.0075)
    assert delivered["date_sent"] == "2018-05-15T16:02:24"
    assert listed["messages"] == [delivered]
    assert "RFC 2822" not in text
    assert "+0000" not in text


@pytest.mark.parametrize("code", listing.LANGUAGES)
def test_instructions_tell_what_users_of_bizagi_must_know(made, code):
    text = html.unescape(page(made, code))
    for said in (
        *("error.error", "%5Cn", "%2541", "proxyUrl", "HTTPS_PROXY", "305", "-200", "2.0.0"),
        "(connectTimeoutSeconds + timeoutSeconds) + timeoutSeconds + resolveSeconds",
        *("Geo Permissions", "Verified Caller IDs", "Live credentials", INSTALL.name),
    ):
        assert said in text, said
    (steps,) = re.findall(r"<ol>(.*?)</ol>", text, re.DOTALL)
    assert steps.count("<li>") == 7  # as many as the document has


def test_bound_that_the_pages_tell_is_that_of_the_default_values():
    assert bizagi_facts.bound(MANIFEST) == 5 * (10 + 35) + 35 + 45 == 305


@pytest.mark.parametrize("code", listing.LANGUAGES)
def test_what_is_concluded_is_told_with_the_values_that_the_package_has(made, code):
    table = html.unescape(page(made, code)).partition('<section id="concluded">')[2]
    for name in ("DATATYPE", "XSD_TYPES", "OUTSIDE", "RUNTIME_VERSION", "AUTHENTICATION"):
        assert hasattr(bizagi_facts, name)
        assert f"<code>{name}</code>" in table
    assert bizagi_facts.DATATYPE == ""
    for value in (bizagi_facts.AUTHENTICATION, bizagi_facts.RUNTIME_VERSION):
        assert f"<code>{value}</code>" in table
    for kind in ("string", "number", "date"):
        assert bizagi_facts.XSD_TYPES[kind] in table
    assert bizagi_facts.OUTSIDE.count("../") == 7


# Heads of tables and columns.
ONLY_ON_THE_PAGE = {"Properties", "Needed", "Name", "Meaning", "Example", "Input", "Output"}


def test_readme_of_the_file_says_what_the_page_says(made):
    readme = listing.readme(ROOT, MANIFEST)
    without_examples = re.sub(r"<pre>.*?</pre>", " ", page(made, "en"), flags=re.DOTALL)
    page_text = html.unescape(re.sub(r"<[^>]+>", " ", without_examples))
    words = set(re.findall(r"[A-Za-z]{4,}", page_text.partition("Disclaimer")[2]))
    assert len(words) > 300
    assert words - set(re.findall(r"[A-Za-z]{4,}", readme)) == ONLY_ON_THE_PAGE


def test_upload_has_a_file_for_each_field_and_language(made):
    files = xchange.files(made, INSTALL)
    names = ("category.txt", "cost-type.txt", "description.txt", "detail.html")
    names += ("instructions.html", "name.txt", "overview.txt")
    assert sorted(files) == sorted(
        [
            *(f"{code}/{name}" for code in listing.LANGUAGES for name in names),
            *(*GALLERY, "icon.svg", "index.html", "updated.txt", "version.txt", INSTALL.name),
        ]
    )
    assert files[INSTALL.name] == INSTALL.content
    assert files["es/category.txt"].decode() == "Comunicación, Mensajería\n"
    assert files["es/cost-type.txt"].decode() == "Gratis\n"
    assert files["es/instructions.html"] == made["instructions.es.html"]
    index = files["index.html"].decode()
    for name in files.keys() - {"index.html"}:
        assert f'href="{name}"' in index


# One planted fault for each rule about the texts.


def findings(tree):
    return [(finding.rule, finding.file, finding.place) for finding in checks.check(tree)]


@pytest.mark.parametrize("code", listing.LANGUAGES)
def test_missing_language_is_found(tree, code):
    (tree / "marketplace" / "listing" / f"{code}.yaml").unlink()
    assert findings(tree) == [("text-missing", f"marketplace/listing/{code}.yaml", "")]


@pytest.mark.parametrize(
    ("code", "old", "new", "said"),
    [
        ("en", "cost: Free\n", "", "cost: it is required: add it"),
        ("es", "cost: Gratis\n", "cost: ''\n", "cost: it must have"),
        ("es", "overview:\n", "overveiw: x\noverview:\n", "(did you mean 'overview'?): correct"),
        ("en", "overview:\n", "overview: [\n", "no YAML (line"),
        ("es", "cost: Gratis\n", "cost: ' '\n", "cost: it is blank"),
        ("es", "cost: Gratis\n", "cost: 5\n", "it must be text: put it in quotes"),
        ("es", "cost: Gratis\n", "cost: 2020-02-03\n", "cost: it is read as a date"),
        ("es", "cost: Gratis\n", "cost: 2020-99-99\n", "put such texts in quotes"),
        ("es", "cost: Gratis\n", "cost: !!bool x\n", "put such texts in quotes"),
        ("es", "cost:", "cost: Otro\ncost:", "a key that is there twice"),
        ("es", "overview:\n", f"overview: {'[' * 20_000}\n", "it is nested too deeply"),
        ("es", "[Twilio](https:", "[Twilio](http:", "overview[0]: a picture, or a link"),
        ("es", "[Twilio](https:", "![Twilio](https:", "overview[0]: a picture, or a link"),
        (
            "es",
            "before_you_start:\n",
            "before_you_start:\n  - Uno más.\n",
            "before_you_start: it has 8 entries, in English 7",
        ),
    ],
)
def test_texts_of_another_form_are_found(tree, code, old, new, said):
    edit_text(tree / "marketplace" / "listing" / f"{code}.yaml", old, new)
    (finding,) = checks.check(tree)
    assert (finding.rule, finding.file) == ("text-form", f"marketplace/listing/{code}.yaml")
    assert said in str(finding)


def test_texts_that_are_no_utf_8_are_found(tree):
    path = tree / "marketplace" / "listing" / "es.yaml"
    path.write_bytes(path.read_text("utf-8").encode("latin-1"))
    assert findings(tree) == [("text-encoding", "marketplace/listing/es.yaml", "")]


def test_description_that_is_not_translated_is_found_and_so_is_the_old_one(tree):
    edit_json(tree / "connector.json", lambda it: put(it, "actions.0.description", "Sends one."))
    assert findings(tree) == [
        ("text-stale", "marketplace/listing/es.yaml", "translations: Sends an SMS."),
        ("text-missing", "marketplace/listing/es.yaml", "translations: Sends one."),
    ]


def test_what_was_left_in_english_is_found(tree):
    edit_text(
        tree / "marketplace" / "listing" / "es.yaml", "is: Envía un SMS.", "is: Sends an SMS."
    )  # too short
    spanish = (tree / "marketplace" / "listing" / "es.yaml").read_text("utf-8")
    note = re.search(r"  get_sms_information: >-\n(?:    .*\n)+", spanish)[0]
    whole = (tree / "marketplace" / "listing" / "en.yaml").read_text("utf-8")
    english = re.search(r"  get_sms_information: >-\n(?:    .*\n)+", whole)[0]
    edit_text(tree / "marketplace" / "listing" / "es.yaml", note, english)
    said = "The Account SID from the Live credentials section of the Twilio console."
    put_in = "El Account SID de la sección Live credentials de la consola de Twilio."
    edit_text(tree / "marketplace" / "listing" / "es.yaml", put_in, said)
    assert findings(tree) == [
        ("text-missing", "marketplace/listing/es.yaml", "notes.get_sms_information"),
        ("text-missing", "marketplace/listing/es.yaml", f"translations: {said[:59]}…"),
    ]


def test_pictures_and_other_links_are_shown_and_not_obeyed(tree):
    links = "![Open](https://x.test/a.png) [an](http://x.test/) [account](javascript:a) <data:a>"
    edit_text(tree / "marketplace" / "listing" / "en.yaml", "Complete the validations", links)
    text = page(listing.listing(tree, INSTALL, PYTHON), "en")
    assert '<img src="https' not in text
    outline = Outline(text)
    assert [link for link in outline.links if "x.test" in link] == ["https://x.test/a.png"]
    assert not any(link.startswith(("http:", "javascript:", "data:")) for link in outline.links)


def test_text_that_is_translated_twice_is_found(tree):
    again = "translations:\n  - of: Sends an SMS.\n    is: Manda un SMS.\n"
    edit_text(tree / "marketplace" / "listing" / "es.yaml", "translations:\n", again)
    assert findings(tree) == [
        ("text-stale", "marketplace/listing/es.yaml", "translations: Sends an SMS.")
    ]


def test_translation_into_the_language_that_it_is_written_in_is_found(tree):
    with (tree / "marketplace" / "listing" / "en.yaml").open("a", encoding="utf-8") as file:
        file.write("translations:\n  - {of: Sends an SMS., is: Sends it.}\n")
    assert findings(tree) == [
        ("text-stale", "marketplace/listing/en.yaml", "translations: Sends an SMS.")
    ]


@pytest.mark.parametrize("code", listing.LANGUAGES)
def test_notes_and_advice_follow_the_actions_and_the_errors(tree, code):
    file = f"marketplace/listing/{code}.yaml"
    edit_text(tree / file, "  get_all_sms: >-", "  make_call: >-")
    edit_text(tree / file, "code: OUTCOME_UNKNOWN", "code: MAYBE")
    assert findings(tree) == [
        ("text-stale", file, "failing.codes: MAYBE"),
        ("text-missing", file, "failing.codes: OUTCOME_UNKNOWN"),
        ("text-missing", file, "notes.get_all_sms"),
        ("text-stale", file, "notes.make_call"),
    ]


# In a real browser.

MEASURE = """<!DOCTYPE html><title>measure</title><pre id="result"></pre><script>
const pages = %s, widths = [320, 390, 820, 1280];
let pending = pages.length * widths.length;
const result = [];
for (const page of pages) for (const width of widths) {
  const frame = document.createElement('iframe');
  frame.style.width = width + 'px'; frame.style.height = '800px';
  frame.onload = () => {
    const inner = frame.contentDocument, root = inner.documentElement;
    const style = frame.contentWindow.getComputedStyle(inner.body);
    const image = inner.querySelector('header img');
    result.push({page, width, wide: root.scrollWidth, font: parseFloat(style.fontSize),
      image: image.complete && image.naturalWidth, height: root.scrollHeight,
      text: inner.querySelector('h1').getBoundingClientRect().right});
    if (--pending === 0) document.getElementById('result').textContent = JSON.stringify(result);
  };
  frame.src = page; document.body.append(frame);
}
</script>"""


@pytest.fixture(scope="module")
def served(made, tmp_path_factory):
    """The listing over HTTP on loopback, and a page that measures it."""
    folder = tmp_path_factory.mktemp("served")
    for name, content in made.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    pages = [f"instructions.{code}.html" for code in listing.LANGUAGES]
    (folder / "measure.html").write_text(MEASURE % json.dumps(pages), "utf-8")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=[0.01])
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_pages_fit_phones_and_desktops(chromium, served):
    dom = chromium("--virtual-time-budget=20000", "--dump-dom", f"{served}/measure.html")
    (result,) = re.findall(r'<pre id="result">(.*?)</pre>', dom, re.DOTALL)
    measured = json.loads(html.unescape(result))
    assert len(measured) == 8
    for screen in measured:
        assert screen["wide"] <= screen["width"], screen  # nothing to scroll sideways
        assert screen["text"] <= screen["width"], screen
        assert screen["font"] >= 16, screen
        assert screen["image"] > 0, screen
        assert screen["height"] > 2000, screen


@pytest.mark.parametrize("code", listing.LANGUAGES)
def test_pages_print_on_few_sheets(chromium, served, tmp_path, code):
    target = tmp_path / "printed.pdf"
    url = f"{served}/instructions.{code}.html"
    chromium("--no-pdf-header-footer", f"--print-to-pdf={target}", url)
    sheets = len(re.findall(rb"/Type\s*/Page\b", target.read_bytes()))
    assert 3 <= sheets <= 16
