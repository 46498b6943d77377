//! Numbers as text: what JSON takes, what they are worth, how Python writes them. Never a float.

use crate::json::{Read, Yours};
use std::cmp::Ordering;

const LONGEST: usize = 60;
/// Longer exponents are the reference's.
const EXPONENT_DIGITS: usize = 3;
/// The reference writes no exponent up to so many digits.
const WITHOUT_EXPONENT: i32 = 40;

fn digits_end(b: &[u8], from: usize) -> usize {
    let more = b[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    from + more
}

/// Is it a number in JSON's notation?
#[inline]
pub fn is_json(b: &[u8]) -> bool {
    let start = usize::from(b.first() == Some(&b'-'));
    let mut i = digits_end(b, start);
    if i == start || (b[start] == b'0' && i > start + 1) {
        return false;
    }
    if b.get(i) == Some(&b'.') {
        let end = digits_end(b, i + 1);
        if end == i + 1 {
            return false;
        }
        i = end;
    }
    if matches!(b.get(i), Some(b'e' | b'E')) {
        i += 1;
        i += usize::from(matches!(b.get(i), Some(b'+' | b'-')));
        let end = digits_end(b, i);
        if end == i || end - i > EXPONENT_DIGITS {
            return false;
        }
        i = end;
    }
    i == b.len()
}

/// Is it written with digits only, and not too many? The reference makes an `int` of it, otherwise a `Decimal`.
pub fn is_whole(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    !digits.is_empty() && digits.len() <= WITHOUT_EXPONENT as usize && digits.iter().all(u8::is_ascii_digit)
}

/// Significant digits without zeros at either end, and the power of ten of a point that stands before the first.
struct Parts {
    negative: bool,
    digits: [u8; LONGEST],
    count: usize,
    power: i32,
}

impl Parts {
    /// Of a text that `is_json`.
    fn of(text: &[u8]) -> Read<Parts> {
        if text.len() > LONGEST {
            return Err(Yours);
        }
        let mut parts = Parts { negative: text.first() == Some(&b'-'), digits: [0; LONGEST], count: 0, power: 0 };
        let (mut exponent, mut after_point) = (0i32, false);
        for (i, &c) in text.iter().enumerate() {
            match c {
                b'0'..=b'9' if parts.count > 0 || c != b'0' => {
                    parts.digits[parts.count] = c;
                    parts.count += 1;
                    parts.power += i32::from(!after_point);
                }
                b'0' => parts.power -= i32::from(after_point),
                b'.' => after_point = true,
                b'e' | b'E' => {
                    let rest = std::str::from_utf8(&text[i + 1..]).map_err(|_| Yours)?;
                    exponent = rest.parse().map_err(|_| Yours)?;
                    break;
                }
                _ => {}
            }
        }
        while parts.count > 0 && parts.digits[parts.count - 1] == b'0' {
            parts.count -= 1;
        }
        parts.power += exponent;
        if parts.count == 0 {
            (parts.negative, parts.power) = (false, 0);
        }
        Ok(parts)
    }

    fn significant(&self) -> &[u8] {
        &self.digits[..self.count]
    }
}

/// The order of two numbers by value; both are `is_json`.
pub fn compare(a: &[u8], b: &[u8]) -> Read<Ordering> {
    let (a, b) = (Parts::of(a)?, Parts::of(b)?);
    if a.negative != b.negative {
        return Ok(if a.negative { Ordering::Less } else { Ordering::Greater });
    }
    let size = match (a.count, b.count) {
        (0, 0) => Ordering::Equal,
        (0, _) => Ordering::Less,
        (_, 0) => Ordering::Greater,
        _ => a.power.cmp(&b.power).then_with(|| a.significant().cmp(b.significant())),
    };
    Ok(if a.negative { size.reverse() } else { size })
}

/// Is it written as Python's `str` writes the `int` or `Decimal` that it is? The number is `is_json`.
pub fn is_as_python(text: &[u8]) -> bool {
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    let Some(e) = unsigned.iter().position(|c| matches!(c, b'e' | b'E')) else {
        let Some(point) = unsigned.iter().position(|&c| c == b'.') else {
            return text != b"-0";
        };
        return adjusted(unsigned, -((unsigned.len() - point - 1) as i32)) >= -6;
    };
    let (mantissa, power) = (&unsigned[..e], &unsigned[e + 1..]);
    let Some((sign @ (b'+' | b'-'), digits)) = power.split_first() else {
        return false;
    };
    if unsigned[e] != b'E' || digits.first() == Some(&b'0') {
        return false;
    }
    let Some(power) = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<i32>().ok()) else {
        return false;
    };
    let power = if *sign == b'-' { -power } else { power };
    let fraction = mantissa.len().saturating_sub(2) as i32;
    let is_scientific = mantissa.len() == 1 || mantissa.get(1) == Some(&b'.');
    is_scientific && mantissa[0] != b'0' && (power - fraction > 0 || power < -6)
}

/// The power of ten that Python shows of a decimal: of its first significant digit, or of the last of a zero's.
fn adjusted(unsigned: &[u8], exponent: i32) -> i32 {
    let digits = unsigned.iter().filter(|c| c.is_ascii_digit());
    let significant = digits.skip_while(|&&c| c == b'0').count().max(1);
    exponent + significant as i32 - 1
}

/// One text for each number: the twin of `canonical_number`. The number is `is_json`.
pub fn canonical(text: &str) -> Read<String> {
    if is_whole(text.as_bytes()) && !text.starts_with('-') {
        return Ok(text.to_owned()); // JSON has no zeros before a number
    }
    let parts = Parts::of(text.as_bytes())?;
    if parts.count == 0 {
        return Ok("0".to_owned());
    }
    let significant = std::str::from_utf8(parts.significant()).map_err(|_| Yours)?;
    let sign = if parts.negative { "-" } else { "" };
    let power = parts.power - parts.count as i32;
    Ok(match power {
        0..=WITHOUT_EXPONENT => format!("{sign}{significant}{}", "0".repeat(power as usize)),
        _ if (-WITHOUT_EXPONENT..0).contains(&power) => {
            let padded = format!("{significant:0>width$}", width = (1 - power) as usize);
            let (whole, fraction) = padded.split_at(padded.len() - power.unsigned_abs() as usize);
            format!("{sign}{whole}.{fraction}")
        }
        _ => format!("{sign}{significant}E{power:+}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_by_value() {
        for (a, b, wanted) in [
            ("1", "1.0", Ordering::Equal),
            ("-0", "0.00", Ordering::Equal),
            ("1E+2", "100", Ordering::Equal),
            ("0.001", "1e-3", Ordering::Equal),
            ("-2", "-10", Ordering::Greater),
            ("99999999999999999999999999999999999999", "1E+38", Ordering::Less),
        ] {
            assert_eq!(compare(a.as_bytes(), b.as_bytes()), Ok(wanted), "{a} {b}");
        }
    }

    #[test]
    fn one_text_for_each_number() {
        for (text, wanted) in [
            ("-7", "-7"),
            ("-0", "0"),
            ("1.50", "1.5"),
            ("-0.0", "0"),
            ("1E+41", "1E+41"),
            ("1E+40", "10000000000000000000000000000000000000000"),
            ("25e-4", "0.0025"),
            ("12.5", "12.5"),
            ("1E-50", "1E-50"),
            ("100", "100"),
        ] {
            assert_eq!(canonical(text).unwrap(), wanted);
        }
    }

    #[test]
    fn what_json_has_no_number_for() {
        for text in ["", "-", "01", "1.", ".5", "+1", "1e", "1e1234", "NaN", "1x"] {
            assert!(!is_json(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn numbers_as_python_writes_them() {
        for text in ["0", "-12", "1.0", "0.000001", "1E+2", "1.5E+10", "1E-7", "-2.5E-9"] {
            assert!(is_as_python(text.as_bytes()), "{text}");
        }
        for text in ["-0", "0.0000001", "1e+2", "1E2", "12E+2", "1.5E+1", "1E-6"] {
            assert!(!is_as_python(text.as_bytes()), "{text}");
        }
    }
}
