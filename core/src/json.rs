//! Compact JSON, as orjson writes it. Whatever is written otherwise is `Yours`.

/// The reference takes this record: the core does not say anything about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Yours;

pub type Read<T> = Result<T, Yours>;

/// Where a part stands: its first byte, and the one behind its last.
pub type Span = (u32, u32);

#[inline(always)]
pub fn at(b: &[u8], span: Span) -> &[u8] {
    &b[span.0 as usize..span.1 as usize]
}

#[inline(always)]
pub fn span(from: usize, to: usize) -> Span {
    (from as u32, to as u32)
}

/// The text at a span.
pub fn text(b: &[u8], span: Span) -> Read<&str> {
    std::str::from_utf8(at(b, span)).map_err(|_| Yours)
}

#[inline(always)]
pub fn expect(b: &[u8], i: usize, wanted: u8) -> Read<usize> {
    if b.get(i) == Some(&wanted) {
        Ok(i + 1)
    } else {
        Err(Yours)
    }
}

/// Of a string whose first character is at `i`: where its closing quote is, and whether there are escapes.
#[inline(always)]
pub fn string_end(b: &[u8], mut i: usize) -> Read<(usize, bool)> {
    let mut escapes = false;
    loop {
        i = special(b, i)?;
        match b[i] {
            b'"' => return Ok((i, escapes)),
            b'\\' => {
                escapes = true;
                i = escape_end(b, i)?;
            }
            _ => return Err(Yours),
        }
    }
}

/// The end of an escape, if orjson writes it so.
#[cold]
fn escape_end(b: &[u8], i: usize) -> Read<usize> {
    match b.get(i + 1).ok_or(Yours)? {
        b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(i + 2),
        b'u' => {
            let hex = b.get(i + 2..i + 6).ok_or(Yours)?;
            let has_short_form = matches!(hex, b"0008" | b"0009" | b"000a" | b"000c" | b"000d");
            let is_control =
                hex.starts_with(b"00") && matches!(hex[2], b'0' | b'1') && matches!(hex[3], b'0'..=b'9' | b'a'..=b'f');
            if is_control && !has_short_form {
                Ok(i + 6)
            } else {
                Err(Yours)
            }
        }
        _ => Err(Yours),
    }
}

/// The next quote, backslash or control character from `i` on, looked for eight bytes at a time.
#[inline(always)]
fn special(b: &[u8], mut i: usize) -> Read<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = ONES << 7;
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    while let Some(bytes) = b.get(i..i + 8) {
        let word = u64::from_le_bytes(bytes.try_into().map_err(|_| Yours)?);
        let controls = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        let hits = zeros(word ^ (ONES * b'"' as u64)) | zeros(word ^ (ONES * b'\\' as u64)) | controls;
        if hits != 0 {
            return Ok(i + (hits.trailing_zeros() / 8) as usize);
        }
        i += 8;
    }
    let rest = b.get(i..).ok_or(Yours)?;
    let found = rest.iter().position(|&c| c == b'"' || c == b'\\' || c < 0x20);
    found.map(|more| i + more).ok_or(Yours)
}

/// A string without escapes at `i`, and where it ends.
pub fn plain_string(b: &[u8], i: usize) -> Read<(Span, usize)> {
    let start = expect(b, i, b'"')?;
    match string_end(b, start)? {
        (end, false) => Ok((span(start, end), end + 1)),
        _ => Err(Yours),
    }
}

/// A member's name, which has no escapes, and the colon behind it: the name's end, and where the value begins.
#[inline(always)]
pub fn name_end(b: &[u8], i: usize) -> Read<(usize, usize)> {
    let start = expect(b, i, b'"')?;
    match string_end(b, start)? {
        (end, false) => Ok((end, expect(b, end + 1, b':')?)),
        _ => Err(Yours),
    }
}

const DEEPEST: u32 = 64;

/// Any value, checked; where it ends.
pub fn skip(b: &[u8], i: usize, depth: u32) -> Read<usize> {
    if depth > DEEPEST {
        return Err(Yours);
    }
    let rest = b.get(i..).ok_or(Yours)?;
    match rest.first().ok_or(Yours)? {
        b'"' => Ok(string_end(b, i + 1)?.0 + 1),
        b'{' => members(b, i, |_, value| skip(b, value, depth + 1)),
        b'[' => elements(b, i, |value| skip(b, value, depth + 1)),
        b't' if rest.starts_with(b"true") => Ok(i + 4),
        b'f' if rest.starts_with(b"false") => Ok(i + 5),
        b'n' if rest.starts_with(b"null") => Ok(i + 4),
        b'-' | b'0'..=b'9' => {
            let length = rest.iter().position(|c| matches!(c, b',' | b'}' | b']')).ok_or(Yours)?;
            if crate::numbers::is_json(&rest[..length]) {
                Ok(i + length)
            } else {
                Err(Yours)
            }
        }
        _ => Err(Yours),
    }
}

/// The members of the object at `i`: `each` is given the name and where the value begins, and says where it ends.
pub fn members(b: &[u8], i: usize, mut each: impl FnMut(Span, usize) -> Read<usize>) -> Read<usize> {
    let mut i = expect(b, i, b'{')?;
    if b.get(i) == Some(&b'}') {
        return Ok(i + 1);
    }
    loop {
        let (end, value) = name_end(b, i)?;
        i = each(span(i + 1, end), value)?;
        match b.get(i) {
            Some(b',') => i += 1,
            Some(b'}') => return Ok(i + 1),
            _ => return Err(Yours),
        }
    }
}

/// The elements of the array at `i`; as `members`.
pub fn elements(b: &[u8], i: usize, mut each: impl FnMut(usize) -> Read<usize>) -> Read<usize> {
    let mut i = expect(b, i, b'[')?;
    if b.get(i) == Some(&b']') {
        return Ok(i + 1);
    }
    loop {
        i = each(i)?;
        match b.get(i) {
            Some(b',') => i += 1,
            Some(b']') => return Ok(i + 1),
            _ => return Err(Yours),
        }
    }
}

/// The text that the inside of a JSON string stands for.
pub fn unescaped(inner: &str) -> String {
    let mut found = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(slash) = rest.find('\\') {
        found.push_str(&rest[..slash]);
        let escape = rest.as_bytes()[slash + 1];
        let (character, length) = match escape {
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'u' => {
                let code = u8::from_str_radix(&rest[slash + 4..slash + 6], 16).unwrap_or_default();
                (char::from(code), 6)
            }
            other => (char::from(other), 2),
        };
        found.push(character);
        rest = &rest[slash + length..];
    }
    found.push_str(rest);
    found
}

/// Write a text as a JSON string, as orjson does.
pub fn quote(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let is_plain = |&c: &u8| c >= 0x20 && c != b'"' && c != b'\\';
    if text.as_bytes().iter().all(is_plain) {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    for &c in text.as_bytes() {
        match c {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            8 => out.extend_from_slice(b"\\b"),
            9 => out.extend_from_slice(b"\\t"),
            10 => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            13 => out.extend_from_slice(b"\\r"),
            0..=0x1f => {
                out.extend_from_slice(b"\\u00");
                hex(out, &[c]);
            }
            _ => out.push(c),
        }
    }
    out.push(b'"');
}

/// Write bytes as lower-case hex digits.
pub fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

/// Write a whole number.
pub fn digits(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    use std::io::Write;
    let _ = write!(out, "{number}"); // a Vec takes whatever is written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_quoted_and_read_back() {
        let text = "plain \"quoted\" back\\slash \u{1}\u{8}\t\n\u{c}\r\u{1f} ü 🦀";
        let mut out = Vec::new();
        quote(&mut out, text);
        assert_eq!(string_end(&out, 1), Ok((out.len() - 1, true)));
        assert_eq!(unescaped(std::str::from_utf8(&out[1..out.len() - 1]).unwrap()), text);
    }

    #[test]
    fn what_is_written_otherwise_is_yours() {
        for text in [r#""\/""#, r#""\u00e9""#, r#""\u001F""#, r#""\u0009""#, "\"\t\"", "\"open"] {
            assert_eq!(skip(text.as_bytes(), 0, 0), Err(Yours), "{text}");
        }
        for text in ["{ }", "[1, 2]", "{\"a\" :1}", "nul", "01]", ""] {
            assert_eq!(skip(text.as_bytes(), 0, 0), Err(Yours), "{text}");
        }
    }
}
