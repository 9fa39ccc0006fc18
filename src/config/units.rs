//! Durations and sizes as people write them: `90s`, `32MiB`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// A time limit, written `90s`, `5m`, `1h30m`. Never zero, and never longer than 50 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(std::time::Duration);

/// The longest time limit. The sum of several still is a time that clocks and Envoy (292 years) can tell.
const LONGEST: std::time::Duration = std::time::Duration::from_hours(50 * 365 * 24);

/// A number of bytes, written `32MiB` or `512KiB`. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

impl Duration {
    /// That many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(std::time::Duration::from_secs(seconds))
    }

    /// As the standard library's type.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl Size {
    /// That many mebibytes.
    pub const fn mib(mebibytes: u64) -> Self {
        Self(mebibytes << 20)
    }

    /// As bytes.
    pub fn get(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whole units read back as the same number; `1.5 MiB` would not always.
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(shift, _)| self.0.trailing_zeros() >= *shift) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let duration = humantime::parse_duration(text)
            .map_err(|_| format!("`{text}` is not a duration; write it as 90s, 5m or 1h"))?;
        if duration.is_zero() {
            Err("a time limit cannot be zero".to_owned())
        } else if duration > LONGEST {
            Err("a time limit cannot be longer than 50 years".to_owned())
        } else {
            Ok(Self(duration))
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size: bytesize::ByteSize =
            text.parse().map_err(|_| format!("`{text}` is not a size; write it as 512KiB or 32MiB"))?;
        if size.as_u64() == 0 { Err("a size limit cannot be zero".to_owned()) } else { Ok(Self(size.as_u64())) }
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "luthien-duration", "description": "A duration, as 90s, 5m or 1h30m." })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "luthien-size", "description": "A number of bytes, as 512KiB or 32MiB." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_limits_have_a_smallest_and_a_largest() {
        let parse = |text: &str| text.parse::<Duration>().map(|duration| duration.get().as_nanos());
        assert_eq!((parse("1ns"), parse("1h30m")), (Ok(1), Ok(5_400_000_000_000)));
        assert!(parse("18000days").is_ok());
        assert_eq!(parse("0s"), Err("a time limit cannot be zero".to_owned()));
        for too_long in ["51years", "500000000000years"] {
            let error = parse(too_long).unwrap_err();
            assert!(error.contains("50 years") || error.contains("not a duration"), "{error}");
        }
        // What clocks do with the longest ones together.
        let _ = std::time::Instant::now() + LONGEST * 4;
    }

    #[test]
    fn sizes_have_a_smallest_and_none_is_too_large() {
        let parse = |text: &str| text.parse::<Size>().map(Size::get);
        assert_eq!((parse("1B"), parse("32MiB")), (Ok(1), Ok(32 << 20)));
        assert_eq!(parse("0B"), Err("a size limit cannot be zero".to_owned()));
        assert!(parse("-1B").is_err() && parse("much").is_err());
        assert_eq!(parse("15EiB"), Ok(15 << 60));
    }
}
