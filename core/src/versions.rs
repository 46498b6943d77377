//! Versions of documents, and the time that a tombstone bears: the twin of `cdc/records/versions.py`.

use crate::json::{Read, Yours};

/// 2020-01-01T00:00Z in minutes since 1970.
const EPOCH_MINUTE: i64 = 26_297_280;
const MINUTE_BITS: u32 = 24;
/// The end of the times that fit into a version, in microseconds since 1970.
pub const END_MICROS: i64 = (EPOCH_MINUTE + (1 << MINUTE_BITS)) * MICROS_PER_MINUTE;
const MICROS_PER_MINUTE: i64 = 60_000_000;
const RANK_BITS: u32 = 39;
const HALF_RANK: u64 = 1 << (RANK_BITS - 1);
/// Below the counter of a sequence number stand so many digits of a log position.
const POSITION_DIGITS: usize = 20;

fn version(minute: i64, rank: u64) -> Read<u64> {
    if minute >= 1 << MINUTE_BITS {
        return Err(Yours);
    }
    Ok((minute.max(0) as u64) << RANK_BITS | rank)
}

/// By a sequence number of 1 to 40 digits, of a stream that was made in that minute.
pub fn in_stream(stream_minute: i64, sequence: &str) -> Read<u64> {
    let (counter, position) = sequence.split_at(sequence.len().saturating_sub(POSITION_DIGITS));
    let counter: u128 = if counter.is_empty() { 0 } else { counter.parse().map_err(|_| Yours)? };
    let rank = |number: u128| number.min(u128::from(HALF_RANK) - 1) as u64;
    if counter == 0 {
        return version(stream_minute, rank(position.parse().map_err(|_| Yours)?));
    }
    version(stream_minute, HALF_RANK + rank(counter))
}

/// By the microsecond of a change.
pub fn at(created_micros: i64) -> Read<u64> {
    let (minute, micros) = (created_micros / MICROS_PER_MINUTE, created_micros % MICROS_PER_MINUTE);
    version(minute - EPOCH_MINUTE, micros as u64)
}

/// The time as Python's `isoformat` writes it, UTC.
pub fn isoformat(micros: i64) -> String {
    let (seconds, micros) = (micros.div_euclid(1_000_000), micros.rem_euclid(1_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let fraction = if micros == 0 { String::new() } else { format!(".{micros:06}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}+00:00")
}

/// Year, month and day of a count of days since 1970, by years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_python_writes_them() {
        assert_eq!(isoformat(0), "1970-01-01T00:00:00+00:00");
        assert_eq!(isoformat(951_782_399_000_001), "2000-02-28T23:59:59.000001+00:00");
        assert_eq!(isoformat(951_782_400_000_000), "2000-02-29T00:00:00+00:00");
        assert_eq!(isoformat(1_768_469_400_123_000), "2026-01-15T09:30:00.123000+00:00");
    }

    #[test]
    fn versions_grow_with_the_sequence_number() {
        let texts = ["1", "99999999999999999999", "100000000000000000000", "700000000000000000000001"];
        let versions: Vec<u64> = texts.iter().map(|text| in_stream(5, text).unwrap()).collect();
        assert!(versions.windows(2).all(|pair| pair[0] < pair[1]), "{versions:?}");
        assert!(in_stream(1 << 24, "1").is_err());
    }
}
