"""No text makes the reader do anything but load it or say what is wrong."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fleet.errors import InventoryError, UsageError
from fleet.inventory import load, select_hosts
from fleet.inventory.addresses import parse_address, parse_registry
from fleet.inventory.tree import Problems, decode, parse

from .helpers import FILE, written

KEYS = (
    "registry hosts groups images tags platforms dockerfiles ssh_config state address connection"
    " user port slots emulate context dockerfile build_args target smoke recipes all children"
    " vars fleet"
    " ansible_host ansible_connection ansible_group_priority fleet_slots fleet_emulate"
)
TEXTS = (
    "embedded local true false null ~ 1.10 0 -1 \"\" '' hello dockerfiles/hello . .. / ~/x ~x"
    " pi-[1:3] {{x}} linux/arm/v7 a@b:1 [::1] << *a &a !x !!str !!python/name:os.system | > % @ `"
    ' "\\ud800" "\\0" 2001-01-01 0x1f \u00e9 \ufeff'
)
SCALARS = st.sampled_from([*KEYS.split(), *TEXTS.split(), "\t", "\0", "\x85"]) | st.text(max_size=6)
VALUES = st.recursive(
    st.none() | SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(SCALARS, inner, max_size=5),
    max_leaves=25,
)


def as_yaml(value: object, depth: int = 0) -> str:
    """A value in block style, its texts as they are: YAML in shape, in detail maybe not."""
    pad = "  " * depth
    if isinstance(value, dict):
        return "\n" + "".join(f"{pad}{k}: {as_yaml(v, depth + 1)}\n" for k, v in value.items())
    if isinstance(value, list):
        return "\n" + "".join(f"{pad}- {as_yaml(v, depth + 1)}\n" for v in value)
    return "" if value is None else str(value)


FUZZ = settings(
    max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


def reads_or_complains(data: bytes) -> None:
    said: UsageError | None = None
    try:
        select_hosts(load(written(data)), [])
    except UsageError as error:
        said = error
    str(said).encode()  # it can be printed
    if isinstance(said, InventoryError):
        assert said.problems
        assert all(problem.line >= 1 and problem.column >= 1 for problem in said.problems)


@FUZZ
@given(VALUES)
def test_anything_in_the_shape_of_yaml_loads_or_is_complained_about(value: object) -> None:
    reads_or_complains(as_yaml(value).encode(errors="surrogatepass"))


@FUZZ
@given(
    st.fixed_dictionaries(
        {"hosts": VALUES},
        optional=dict.fromkeys(
            ("registry", "groups", "images", "tags", "platforms", "all"), VALUES
        ),
    )
)
def test_anything_under_known_keys_loads_or_is_complained_about(value: object) -> None:
    reads_or_complains(as_yaml(value).encode(errors="surrogatepass"))


@FUZZ
@given(
    st.fixed_dictionaries(
        {"all": st.fixed_dictionaries({"hosts": VALUES, "children": VALUES, "vars": VALUES})}
    )
)
def test_anything_in_ansibles_shape_loads_or_is_complained_about(value: object) -> None:
    reads_or_complains(as_yaml(value).encode(errors="surrogatepass"))


@FUZZ
@given(st.binary(max_size=80))
def test_any_bytes_load_or_are_complained_about(data: bytes) -> None:
    reads_or_complains(data)


@FUZZ
@given(st.text(alphabet="[]{}:,-?!&*#|>'\"%@` \n\tab<~0.\\", max_size=40))
def test_any_text_is_yaml_or_is_complained_about(text: str) -> None:
    with suppress(InventoryError):
        parse(decode(text.encode(), FILE), FILE, Problems())


@FUZZ
@given(st.text(alphabet="ab@:/[]. -+%0123_é\\", max_size=20) | st.text(max_size=12))
def test_any_address_is_understood_or_refused(text: str) -> None:
    for parse_text in (parse_address, parse_registry):
        with suppress(UsageError):
            parse_text(text)


@FUZZ
@given(st.lists(st.text(max_size=6), max_size=4))
def test_any_limit_is_understood_or_refused(limit: list[str]) -> None:
    found = load(written("registry: embedded\nhosts: {a: , b: }\ngroups: {c: [a]}\n"))
    with suppress(UsageError):
        assert select_hosts(found, limit)


RECIPES = (
    "services build context dockerfile args target platforms labels additional_contexts image"
    " extends DOCKER_ARCH a-amd64 a-arm64 amd64 arm64 group default targets contexts tags secrets"
    " service:a target:a docker-image://b ${X:-y} $Z ${ ../x"
)
PARTS = st.sampled_from(RECIPES.split()) | SCALARS
SECTIONS = st.recursive(
    st.none() | PARTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PARTS, inner, max_size=5),
    max_leaves=20,
)
BUILDS = st.fixed_dictionaries({}, optional=dict.fromkeys(RECIPES.split()[2:9], SECTIONS))


def recipes_read_or_complain(data: bytes) -> None:
    written(data, "recipes.yml")
    reads_or_complains(b"registry: embedded\nhosts: {here: }\nrecipes: recipes.yml\n")


@FUZZ
@given(st.sampled_from(["services", "target", "group"]), SECTIONS)
def test_anything_in_a_recipe_file_gives_images_or_is_complained_about(
    section: str, value: object
) -> None:
    recipes_read_or_complain(as_yaml({section: value}).encode(errors="surrogatepass"))


@FUZZ
@given(
    st.dictionaries(
        PARTS,
        st.fixed_dictionaries({"build": BUILDS}, optional={"image": SECTIONS}),
        max_size=4,
    )
)
def test_anything_in_a_build_section_gives_images_or_is_complained_about(services: object) -> None:
    recipes_read_or_complain(as_yaml({"services": services}).encode(errors="surrogatepass"))


@FUZZ
@given(st.dictionaries(PARTS, BUILDS, max_size=4), SECTIONS)
def test_anything_in_a_target_gives_images_or_is_complained_about(
    targets: object, groups: object
) -> None:
    value = {"target": targets, "group": groups}
    recipes_read_or_complain(as_yaml(value).encode(errors="surrogatepass"))
