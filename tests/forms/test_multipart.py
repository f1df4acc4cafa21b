"""Multipart forms part by part: what arrives, what is refused, what it costs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import anyio
import pytest
from baize.datastructures import Headers
from baize.exceptions import HTTPException
from hypothesis import given
from hypothesis import strategies as st

from kui.forms.multipart import Part, parse_multipart
from kui.http.media import parse_content_type
from kui.limits import Limits
from tests.support.form_bodies import BOUNDARY, FORM, Chunks, Field, cut, encode, finish

T = TypeVar("T")

LIMITS = Limits()


def read_all(
    chunks: Chunks, limits: Limits = LIMITS, form: Any = FORM
) -> list[tuple[str, str | None, bytes]]:
    async def read() -> list[tuple[str, str | None, bytes]]:
        parts = parse_multipart(chunks, form, limits)
        return [(part.name, part.filename, await part.read()) async for part in parts]

    return finish(read())


def refusal(body: bytes | Iterable[bytes], limits: Limits = LIMITS) -> HTTPException[Any]:
    for size in (1, 7, 2**20) if isinstance(body, bytes) else (0,):
        chunks = cut(body, size) if isinstance(body, bytes) else Chunks(body)
        with pytest.raises(HTTPException) as caught:
            read_all(chunks, limits)
    assert str(caught.value.content).endswith(".")
    return caught.value


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10).filter(
    lambda name: "\\" not in name and "%" not in name
)
FILENAMES = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\%"), max_size=10
).filter(lambda name: name == name.strip() and name not in (".", ".."))
BODIES = st.binary(max_size=200) | st.text(f"\r\n-{BOUNDARY}", max_size=60).map(str.encode)
FIELDS = st.builds(Field, NAMES, BODIES, st.none() | FILENAMES, st.none()).filter(
    lambda field: f"\r\n--{BOUNDARY}".encode() not in b"\r\n" + field.body
)


@given(st.lists(FIELDS, max_size=6), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_what_was_encoded_arrives_however_it_is_cut(fields: list[Field], sizes: list[int]) -> None:
    arrived = read_all(cut(encode(*fields), *sizes))
    assert arrived == [(field.name, field.filename, field.body) for field in fields]


def test_a_part_has_a_name_a_filename_headers_and_a_type() -> None:
    async def read() -> None:
        body = encode(Field("note", b"hello"), Field("photo", b"\x89PNG", "photo.png", "image/png"))
        parts = parse_multipart(cut(body, 10), FORM)
        note = await anext(parts)
        assert (note.name, note.filename, note.content_type) == ("note", None, "")
        assert await note.text() == "hello"
        photo = await anext(parts)
        assert (photo.name, photo.filename, photo.content_type) == (
            "photo",
            "photo.png",
            "image/png",
        )
        assert isinstance(photo.headers, Headers)
        assert photo.headers["Content-Type"] == "image/png"
        assert b"".join([chunk async for chunk in photo]) == b"\x89PNG"
        assert photo.size == 4
        assert await anext(parts, None) is None
        assert await anext(parts, None) is None

    finish(read())


def test_a_header_that_a_part_has_twice_is_one_with_both_values() -> None:
    async def read() -> Part:
        lines = b"X-Word: a\r\nx-other: c\r\nx-word: b\r\n"
        body = START + DISPOSITION + lines + b"\r\nx" + END
        return await anext(parse_multipart(cut(body, 10), FORM))

    headers = finish(read()).headers
    assert headers["X-Word"] == headers["x-word"] == "a, b"
    assert list(headers) == ["content-disposition", "x-word", "x-other"]


def test_a_part_arrives_before_the_rest_was_sent() -> None:
    async def read() -> None:
        body = encode(Field("a", b"x" * 100), Field("b", b"y" * 100))
        chunks = cut(body, 10)
        parts = parse_multipart(chunks, FORM)
        part = await anext(parts)
        before = chunks.given
        assert before < 10
        assert await part.next_chunk()
        assert chunks.given - before <= 2

    finish(read())


def test_asking_for_the_next_part_skips_the_rest_of_this_one() -> None:
    async def read() -> None:
        body = encode(Field("a", b"x" * 1000), Field("b", b"y" * 10), Field("c", b""))
        parts = parse_multipart(cut(body, 64), FORM)
        first = await anext(parts)
        await first.next_chunk()
        second = await anext(parts)
        assert second.name == "b"
        with pytest.raises(RuntimeError, match="before you ask for the next"):
            await first.read()
        assert await second.read() == b"y" * 10
        assert await second.read() == b""
        assert [part.name async for part in parts] == ["c"]
        assert await second.read() == b""

    finish(read())


def test_parts_are_skipped_without_being_read() -> None:
    async def names() -> list[str]:
        body = encode(Field("a", b"x" * 1000, "a"), Field("b", b"y" * 1000), Field("c", b""))
        return [part.name async for part in parse_multipart(cut(body, 99), FORM)]

    assert finish(names()) == ["a", "b", "c"]


def test_reading_a_part_has_a_limit_of_its_own() -> None:
    async def read(limit: int | None, limits: Limits = LIMITS) -> bytes:
        body = encode(Field("a", b"x" * 1000, "a"))
        part = await anext(parse_multipart(cut(body, 64), FORM, limits))
        return await part.read(limit)

    assert len(finish(read(1000))) == 1000
    with pytest.raises(HTTPException) as caught:
        finish(read(999))
    assert caught.value.status_code == 413
    with pytest.raises(HTTPException) as caught:
        finish(read(None, replace(LIMITS, body=999)))
    assert caught.value.status_code == 413
    assert len(finish(read(1000, replace(LIMITS, body=1)))) == 1000


def test_the_body_is_read_to_its_end_before_the_parts_end() -> None:
    chunks = Chunks([encode(Field("a", b"1")), b"\r\n", b"epilogue", b""])
    assert read_all(chunks) == [("a", None, b"1")]
    assert finish(anext(chunks, "none left")) == "none left"


def test_a_form_may_be_empty_and_have_a_preamble() -> None:
    assert read_all(cut(encode(), 3)) == []
    assert read_all(cut(b"preamble\r\n" + encode(Field("a", b"1")), 3)) == [("a", None, b"1")]


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("photo.png", "photo.png"),
        ("C:\\Users\\ada\\photo.png", "photo.png"),
        ("/etc/passwd", "passwd"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("a/b\\c/d.txt", "d.txt"),
        ("..", ""),
        (".", ""),
        ("a/..", ""),
        ("a/. . ", ". ."),
        (" .. ", ""),
        ("dir/", ""),
        ("", ""),
        ("a%0Ab%0D%22.txt", 'ab".txt'),
        ("a\x00b\x7f\x1b[2Jc\x85", "ab[2Jc"),
        (".\x00.", ""),
        ("Zoë.txt", "Zoë.txt"),
        ("写真.png", "写真.png"),
        ("100%.txt", "100%.txt"),
    ],
)
def test_a_filename_is_its_last_component_without_controls(sent: str, name: str) -> None:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="f"; filename="{sent}"\r\n\r\n'
    body = head.encode() + f"x\r\n--{BOUNDARY}--".encode()
    assert read_all(cut(body, 10)) == [("f", name, b"x")]


def parts_of(disposition: str) -> list[tuple[str, str | None, bytes]]:
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n"
    return read_all(cut(f"{head}x\r\n--{BOUNDARY}--".encode(), 10))


def test_the_other_filename_counts_where_there_is_no_filename() -> None:
    star = "filename*=UTF-8''evil.exe"
    assert parts_of(f'form-data; name="f"; filename="a.txt"; {star}') == [("f", "a.txt", b"x")]
    assert parts_of(f'form-data; name="f"; {star}; filename="a.txt"') == [("f", "a.txt", b"x")]
    assert parts_of(f'form-data; name="f"; {star}') == [("f", "evil.exe", b"x")]


@pytest.mark.parametrize(
    ("sent", "filename"),
    [
        ("UTF-8''%e2%82%ac%20rates.png", "€ rates.png"),
        ("utf-8'en'a%2Fb%5C..%0A%00c.png", "..c.png"),
        ("iso-8859-1''%e9.png", "é.png"),
        ("UTF-8''%ff.png", "�.png"),
        ("UTF-8''", ""),
        ("photo.png", ""),
        ("\"UTF-8''a.png\"", "a.png"),
    ],
)
def test_the_other_filename_alone_makes_a_file(sent: str, filename: str) -> None:
    assert parts_of(f'form-data; name="f"; filename*={sent}') == [("f", filename, b"x")]


def test_another_filename_in_an_unknown_charset_is_400() -> None:
    with pytest.raises(HTTPException) as caught:
        parts_of("form-data; name=f; filename*=klingon''a.png")
    assert caught.value.status_code == 400


@pytest.mark.parametrize(
    ("disposition", "name", "filename"),
    [
        ("form-data; name=f", "f", None),
        ("Form-Data ;NAME=f;FileName=a.txt", "f", "a.txt"),
        (r'form-data; name="a\"b"; filename="c\"d\\e.txt"', 'a"b', "e.txt"),
        (r'form-data; name="f"; filename="C:\dir\a.txt"; x=y', "f", "a.txt"),
        (r'form-data; name="f"; filename="C:\dir\a.txt"', "f", "a.txt"),
        ('form-data; name="f', "f", None),
        ('form-data; name="f"; name="g"', "f", None),
        ('form-data; x="; name=g"; name="f"', "f", None),
    ],
)
def test_a_disposition_may_be_written_in_many_ways(
    disposition: str, name: str, filename: str | None
) -> None:
    assert parts_of(disposition) == [(name, filename, b"x")]


def test_names_that_are_no_utf_8_have_replacement_characters() -> None:
    head = f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
    tail = f"\r\n\r\nx\r\n--{BOUNDARY}--".encode()
    body = head + b'name="\xe9"; filename="a\xff.txt"' + tail
    assert read_all(cut(body, 10)) == [("�", "a�.txt", b"x")]


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        (None, "é".encode(), "é"),
        (None, b"\xe9", "�"),
        ("text/plain; charset=iso-8859-1", b"\xe9", "é"),
        ('text/plain; charset="UTF-16"', "é".encode("utf-16"), "é"),
        ("text/plain", "é".encode(), "é"),
    ],
)
def test_text_is_in_the_charset_of_its_part(
    content_type: str | None, body: bytes, text: str
) -> None:
    async def read() -> str:
        form = encode(Field("a", body, content_type=content_type))
        return await (await anext(parse_multipart(cut(form, 10), FORM))).text()

    assert finish(read()) == text


def test_an_unknown_charset_of_a_part_is_400() -> None:
    async def read() -> None:
        form = encode(Field("a", b"x", content_type="text/plain; charset=klingon"))
        await (await anext(parse_multipart(cut(form, 10), FORM))).text()

    with pytest.raises(HTTPException) as caught:
        finish(read())
    assert caught.value.status_code == 400


DISPOSITION = b'Content-Disposition: form-data; name="a"\r\n'
START = f"--{BOUNDARY}\r\n".encode()
END = f"\r\n--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary at all",
        START,
        START + DISPOSITION,
        START + DISPOSITION + b"\r\nhalf of a bod",
        START + DISPOSITION + b"\r\nbody" + END[:-4],
        START + DISPOSITION + b"\r\nbody\r\n" + START,
        START + b"\r\nx" + END,
        START + b"Content-Type: text/plain\r\n\r\nx" + END,
        START + b"Content-Disposition: form-data\r\n\r\nx" + END,
        START + b'Content-Disposition: form-data; filename="a"\r\n\r\nx' + END,
        START + b'Content-Disposition: attachment; name="a"\r\n\r\nx' + END,
        START + b"no colon\r\n\r\nx" + END,
        START + DISPOSITION + b"Content-Length: 5\r\n\r\nx" + END,
        START + DISPOSITION + b"Content-Length: 1\r\n\r\nxyz" + END,
        START + DISPOSITION + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nxyz" + END,
        START + DISPOSITION + b"\nx" + END,
        START[:-2] + b"garbage\r\n" + DISPOSITION + b"\r\nx" + END,
        START + DISPOSITION + b"\r\nx" + END[:-4] + b"garbage",
        START + DISPOSITION + b"\r\nx" + END[:-4] + b" garbage",
        START + DISPOSITION + b"\r\nx" + END[:-4] + b" --",
        START + DISPOSITION + DISPOSITION + b"\r\nx" + END,
        START + b" " + DISPOSITION + b"\r\nx" + END,
        START + b"X: a\rb\r\n" + DISPOSITION + b"\r\nx" + END,
    ],
)
def test_a_malformed_body_is_400(body: bytes) -> None:
    assert refusal(body).status_code == 400


def test_a_name_may_be_empty_but_not_missing() -> None:
    body = START + b'Content-Disposition: form-data; name=""\r\n\r\nx' + END
    assert read_all(cut(body, 10)) == [("", None, b"x")]


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("multipart/form-data", 400),
        ("multipart/form-data; boundary=", 400),
        ('multipart/form-data; boundary=""', 400),
        ('multipart/form-data; boundary="a\rb"', 400),
        ("multipart/form-data; boundary=é", 400),
        ("multipart/form-data; boundary=" + "a" * 71, 400),
        ("multipart/mixed; boundary=a", 415),
        ("text/plain", 415),
        ("", 415),
    ],
)
def test_a_type_without_a_valid_boundary_is_refused_at_once(header: str, status: int) -> None:
    with pytest.raises(HTTPException) as caught:
        parse_multipart(Chunks([]), parse_content_type(header))
    assert caught.value.status_code == status


@pytest.mark.parametrize("boundary", ["a", "a" * 70, "x'()+_,-./:=?y", "a b"])
def test_a_valid_boundary_is_taken(boundary: str) -> None:
    form = parse_content_type(f'Multipart/Form-Data; Boundary="{boundary}"')
    body = encode(Field("a", b"1"), boundary=boundary)
    assert read_all(cut(body, 3), form=form) == [("a", None, b"1")]


def test_an_error_is_raised_again_when_one_asks_again() -> None:
    async def read() -> None:
        parts = parse_multipart(cut(START + b"no colon\r\n\r\n", 10), FORM)
        for _ in range(3):
            with pytest.raises(HTTPException):
                await anext(parts)

    finish(read())


def test_a_part_without_a_body_does_not_swallow_the_next_one() -> None:
    note = START + b'Content-Disposition: form-data; name="note"\r\n\r\n'
    end = END.removeprefix(b"\r\n")
    for size in 1, 7, 1000:
        assert read_all(cut(note + START + DISPOSITION + b"\r\nx" + END, size)) == [
            ("note", None, b""),
            ("a", None, b"x"),
        ]
        assert read_all(cut(note + note + end, size)) == [("note", None, b"")] * 2
        assert read_all(cut(note + b"\r\n" + end, size)) == [("note", None, b"")]
        assert read_all(cut(note + b"\r\n\r\n" + end, size)) == [("note", None, b"\r\n")]


@pytest.mark.parametrize("blanks", [b" ", b"\t", b" \t " * 20])
def test_blanks_behind_a_boundary_are_passed_over(blanks: bytes) -> None:
    start = START[:-2] + blanks + b"\r\n"
    body = start + DISPOSITION + b"\r\nx\r\n" + start + DISPOSITION + b"\r\ny" + END
    for size in 1, 7, 1000:
        assert read_all(cut(body + blanks, size)) == [("a", None, b"x"), ("a", None, b"y")]


def test_too_many_blanks_behind_a_boundary_are_413() -> None:
    assert refusal(START[:-2] + b" " * 20_000 + b"\r\n" + DISPOSITION).status_code == 413


TOKENS = [
    START,
    START[:-2],
    END,
    END.removeprefix(b"\r\n"),
    DISPOSITION,
    b'Content-Disposition: form-data; name="b"; filename="b"\r\n',
    b"Content-Length: 1\r\n",
    b"X: y\r\n",
    b"\r\n",
    b"\r",
    b"\n",
    b" ",
    b"--",
    b"-",
    b"x",
]


@given(
    st.lists(st.sampled_from(TOKENS), max_size=20),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_where_a_body_is_cut_never_matters(tokens: list[bytes], sizes: list[int]) -> None:
    def outcome(chunks: Chunks) -> list[Any]:
        found: list[Any] = []

        async def read() -> None:
            async for part in parse_multipart(chunks, FORM):
                found.append([part.name, part.filename, b""])
                async for chunk in part:
                    found[-1][2] += chunk

        try:
            finish(read())
        except HTTPException as error:
            found.append((error.status_code, error.content))
        return found

    body = START + DISPOSITION + b"".join(tokens)
    whole = outcome(Chunks([body]))
    assert outcome(cut(body, *sizes)) == whole


# ---- limits


def test_as_many_parts_as_the_limit_says() -> None:
    fields = [Field(str(n), b"") for n in range(11)]
    limits = replace(LIMITS, parts=10)
    assert len(read_all(cut(encode(*fields[:10]), 50), limits)) == 10
    assert refusal(encode(*fields), limits).status_code == 413


def test_names_and_values_of_fields_count_together_and_files_do_not() -> None:
    limits = replace(LIMITS, field_bytes=100)
    fits = [Field("a" * 10, b"x" * 40), Field("b", b"z" * 1000, "f"), Field("c" * 10, b"y" * 40)]
    assert len(read_all(cut(encode(*fits), 30), limits)) == 3
    assert refusal(encode(*fits, Field("d", b"")), limits).status_code == 413
    assert refusal(encode(Field("a", b"x" * 100)), limits).status_code == 413


def test_a_file_may_be_as_large_as_the_limit_says() -> None:
    limits = replace(LIMITS, file_bytes=100)
    two = [Field("a", b"x" * 100, "a"), Field("b", b"x" * 100, "b")]
    assert len(read_all(cut(encode(*two), 30), limits)) == 2
    assert refusal(encode(Field("a", b"x" * 101, "a")), limits).status_code == 413


def test_limits_hold_for_parts_that_are_skipped() -> None:
    async def skip(field: Field) -> None:
        limits = replace(LIMITS, file_bytes=100, field_bytes=100)
        parts = parse_multipart(cut(encode(field), 30), FORM, limits)
        async for _ in parts:
            pass

    for field in (Field("a", b"x" * 200, "a"), Field("a", b"x" * 200)):
        with pytest.raises(HTTPException) as caught:
            finish(skip(field))
        assert caught.value.status_code == 413


@pytest.mark.parametrize(
    "headers",
    [
        b"X-Long: " + b"x" * 17_000 + b"\r\n",
        b"X-Long: " + b"x" * 17_000,
        b"".join(b"X-%d: %s\r\n" % (n, b"x" * 2_000) for n in range(9)),
        b"".join(b"X-%d: x\r\n" % n for n in range(17)),
        b"X-Folded: x\r\n" + b" x\r\n" * 9_000,
    ],
)
def test_headers_of_a_part_that_are_too_large_are_413(headers: bytes) -> None:
    assert refusal(START + DISPOSITION + headers + b"\r\nx" + END).status_code == 413


def test_the_limit_of_a_head_does_not_depend_on_the_pieces() -> None:
    body = START + DISPOSITION + b"X: " + b"y" * 100 + b"\r\n\r\nx" + END
    outcomes = []
    for most in range(130, 170):
        for size in 1, 3, 1000:
            try:
                outcomes.append(len(read_all(cut(body, size), replace(LIMITS, part_headers=most))))
            except HTTPException as error:
                outcomes.append(error.status_code)
    assert sorted(outcomes, reverse=True) == outcomes
    assert set(outcomes) == {413, 1}
    assert outcomes.count(1) % 3 == 0


# ---- attacks: each would take minutes, or the machine's memory, in quadratic time


def repeat(
    chunk: bytes, megabytes: float, first: bytes = b"", last: bytes = b""
) -> Iterator[bytes]:
    yield first
    for _ in range(int(megabytes * 2**20) // len(chunk)):
        yield chunk
    yield last


def in_bounded_memory(chunks: Iterable[bytes], limits: Limits = LIMITS) -> int:
    """Skip over all parts, and say how many there were; or what status that gave."""

    async def skip() -> int:
        count = 0
        async for part in parse_multipart(Chunks(chunks), FORM, limits):
            count += 1
            async for _ in part:
                pass
        return count

    tracemalloc.start()
    try:
        return finish(skip())
    except HTTPException as error:
        return -error.status_code
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2 * 2**20


FILE = START + b'Content-Disposition: form-data; name="a"; filename="a"\r\n\r\n'


@pytest.mark.parametrize("first", [b"\n", b"\r\n", b"\r", b""])
def test_64_mib_that_begin_with_a_newline_and_have_none_after_it(first: bytes) -> None:
    assert in_bounded_memory(repeat(b"x" * 65536, 64, FILE + first, END)) == 1


@pytest.mark.parametrize(
    "chunk", [b"\r" * 65536, b"\n" * 65536, END[:-5] * 2048, b"\r\n--" * 16384, b"\r\n-"]
)
def test_megabytes_of_almost_a_boundary(chunk: bytes) -> None:
    size = 8 if len(chunk) > 100 else 1 / 32
    assert in_bounded_memory(repeat(chunk, size, FILE, END)) == 1


def test_one_chunk_of_64_mib() -> None:
    body = FILE + b"x" * (64 * 2**20) + END
    assert in_bounded_memory([body]) == 1


def test_headers_without_an_end() -> None:
    assert in_bounded_memory(repeat(b"x" * 65536, 64, START + b"X-Long: ")) == -413
    assert in_bounded_memory(repeat(b"x", 1 / 32, START + b"X-Long: ")) == -413
    assert in_bounded_memory(repeat(b" x\r\n" * 1000, 16, START + b"X: y\r\n")) == -413


def test_a_preamble_or_an_epilogue_without_an_end() -> None:
    assert in_bounded_memory(repeat(b"x" * 65536, 64)) == -413
    assert in_bounded_memory(repeat(b"\r\n" * 32768, 64)) == -413
    assert in_bounded_memory(repeat(b"x" * 65536, 64, FILE + END)) == -413


def test_thousands_of_tiny_parts() -> None:
    tiny = START + DISPOSITION + b"\r\n\r\n"
    assert in_bounded_memory(repeat(tiny * 100, 8)) == -413
    many = replace(LIMITS, parts=10_000)
    assert in_bounded_memory(repeat(tiny * 100, 0.5, b"", END[2:]), many) > 5_000


def test_a_disposition_takes_linear_time() -> None:
    limits = replace(LIMITS, part_headers=2**20)
    for piece in b';a="\\"', b"; ", b';a="', b';a="b"c', b";a=" + b"\t", b"\\", b"%22":
        head = b"Content-Disposition: form-data" + piece * (2**20 // len(piece) - 64)
        with pytest.raises(HTTPException) as caught:
            read_all(Chunks([START + head + b"\r\n\r\nx" + END]), limits)
        assert caught.value.status_code == 400


# ---- waiting


class Waiting:
    """A source that has to be asked twice: the first reader is cancelled while it waits."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._asked = False
        self.scope = anyio.CancelScope()

    def __aiter__(self) -> Waiting:
        return self

    async def __anext__(self) -> bytes:
        self._asked = not self._asked
        if self._asked:
            self.scope.cancel()
            await anyio.sleep_forever()
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


@pytest.mark.anyio
async def test_a_cancelled_wait_loses_nothing(anyio_backend: str) -> None:
    fields = [Field("a", b"x" * 50, "a"), Field("b", b"y" * 50), Field("c", b"")]
    body = encode(*fields)
    source = Waiting([body[n : n + 20] for n in range(0, len(body), 20)])
    parts = parse_multipart(source, FORM)
    cancelled = 0

    async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
        nonlocal cancelled
        while True:
            with anyio.CancelScope() as source.scope:
                return await ask()
            cancelled += 1

    async def following() -> Part | None:
        return await anext(parts, None)

    arrived = []
    while part := await patiently(following):
        arrived.append(Field(part.name, await patiently(part.read), part.filename))
    assert arrived == fields
    assert cancelled > len(body) // 20


@pytest.mark.anyio
async def test_a_part_that_was_being_skipped_cannot_be_read(anyio_backend: str) -> None:
    body = encode(Field("a", b"x" * 50), Field("b", b"y"))
    source = Waiting([body[:100], body[100:]])
    parts = parse_multipart(source, FORM)
    with anyio.CancelScope() as source.scope:
        await anext(parts)
    part = await anext(parts)
    with anyio.CancelScope() as source.scope:
        await anext(parts)
    assert source.scope.cancelled_caught
    with pytest.raises(RuntimeError, match="before you ask for the next"):
        await part.next_chunk()
    assert (await anext(parts)).name == "b"


@pytest.mark.anyio
async def test_two_tasks_cannot_read_the_parts_of_one_form(anyio_backend: str) -> None:
    parts = parse_multipart(Waiting([]), FORM)
    async with anyio.create_task_group() as group:
        group.start_soon(anext, parts)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="two tasks"):
            await anext(parts)
        group.cancel_scope.cancel()
