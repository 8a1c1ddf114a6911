//! Times in written conditions and faults: whole nanoseconds. No text for people is here.

use std::time::Duration;

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// # Errors
/// More than 64 bits of nanoseconds, 584 years.
pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let nanos = u64::try_from(time.as_nanos()).map_err(|_| S::Error::custom("a time of centuries"))?;
    serializer.serialize_u64(nanos)
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_nanos)
}

/// The same for a time that may be absent; leave it out when it is.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_nanos))
    }
}
