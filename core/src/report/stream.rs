//! Reading `results.json` crate by crate, for files that are larger than memory.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

use super::model::{ClusterResult, CrateResult, ExperimentInfo, ResultsError, SCHEMA};

/// What stands around the crates.
#[derive(Debug, Clone)]
pub struct Head {
    /// What was compared.
    pub experiment: ExperimentInfo,
    /// Root causes of regressions.
    pub clusters: Vec<ClusterResult>,
    /// Counts of requests to the registry.
    pub registry: Option<serde_json::Value>,
}

/// Reads results, and gives each crate to `each`, in their order.
///
/// # Errors
/// That of the deserializer, where this is no file of results, or one of another schema.
pub fn read<'de, D: Deserializer<'de>>(
    results: D,
    each: &mut dyn FnMut(CrateResult),
) -> Result<Head, D::Error> {
    results.deserialize_map(Whole { each })
}

/// The same without the crates.
///
/// # Errors
/// As [`read`].
pub fn head<'de, D: Deserializer<'de>>(results: D) -> Result<Head, D::Error> {
    read(results, &mut |_| {})
}

struct Whole<'a> {
    each: &'a mut dyn FnMut(CrateResult),
}

impl<'de> Visitor<'de> for Whole<'_> {
    type Value = Head;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the results of an experiment")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let (mut schema, mut experiment, mut clusters, mut registry) = (None, None, None, None);
        let mut crates = false;
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "schema" => {
                    let found: u64 = map.next_value()?;
                    if found != u64::from(SCHEMA) {
                        return Err(A::Error::custom(ResultsError::Schema { found }));
                    }
                    schema = Some(found);
                }
                "experiment" => experiment = Some(map.next_value()?),
                "clusters" => clusters = Some(map.next_value()?),
                "registry" => registry = map.next_value()?,
                "crates" => {
                    map.next_value_seed(Crates { each: self.each })?;
                    crates = true;
                }
                "totals" | "coverage" | "not_covered" => {
                    map.next_value::<IgnoredAny>()?;
                }
                other => {
                    let known = &[
                        "schema",
                        "experiment",
                        "totals",
                        "coverage",
                        "not_covered",
                        "clusters",
                        "crates",
                        "registry",
                    ];
                    return Err(A::Error::unknown_field(other, known));
                }
            }
        }
        if !crates {
            return Err(A::Error::missing_field("crates"));
        }
        schema.ok_or_else(|| A::Error::missing_field("schema"))?;
        Ok(Head {
            experiment: experiment.ok_or_else(|| A::Error::missing_field("experiment"))?,
            clusters: clusters.ok_or_else(|| A::Error::missing_field("clusters"))?,
            registry,
        })
    }
}

struct Crates<'a> {
    each: &'a mut dyn FnMut(CrateResult),
}

impl<'de> DeserializeSeed<'de> for Crates<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, crates: D) -> Result<(), D::Error> {
        crates.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Crates<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of crates")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(krate) = seq.next_element()? {
            (self.each)(krate);
        }
        Ok(())
    }
}
