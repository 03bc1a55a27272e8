//! YAML as a tree in which everything knows where it stands, so that every mistake can be shown,
//! not only the first. Bounded: size, depth, nodes, and what aliases may unfold to.

use std::fmt;

use decision::config::place::{Place, Step};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, MergeKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Options, Spanned};

/// Larger files are refused unread.
pub(super) const SIZE_MAX: usize = 1 << 20;
const DEPTH_MAX: usize = 32;
const NODES_MAX: usize = 50_000;
const ALIAS_EVENTS_MAX: usize = 20_000;

/// A stretch of one line; lines and columns count from 1, columns and length in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) length: usize,
}

impl At {
    pub(super) const START: At = At { line: 1, column: 1, length: 0 };

    pub(super) fn new(location: Location) -> Self {
        Self {
            line: (location.line() as usize).max(1),
            column: (location.column() as usize).max(1),
            length: location.span().len() as usize,
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: At,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As it is written, quotes aside.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: At,
    pub(super) node: Node,
}

pub(super) fn options(merge_keys: MergeKeyPolicy) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_nodes: NODES_MAX,
            max_events: 4 * NODES_MAX,
            // The second is told apart from what is too large.
            max_documents: 2,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: 1_000,
            max_recorded_anchor_events: 4 * NODES_MAX,
            max_recorded_anchor_bytes: 4 * SIZE_MAX,
            max_total_scalar_bytes: 4 * SIZE_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: ALIAS_EVENTS_MAX,
            max_replay_stack_depth: 16,
            max_alias_expansions_per_anchor: 1_000,
        },
        // Reported with both places by the loader, which sees every pair.
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        merge_keys: merge_keys,
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    }
}

pub(super) fn read(text: &str) -> Result<Node, serde_saphyr::Error> {
    let mut root: Node = serde_saphyr::from_str_with_options(text, options(MergeKeyPolicy::AsOrdinary))?;
    root.merge();
    Ok(root)
}

/// Of a text we have written ourselves, which may be longer than what we take from others.
pub(super) fn read_own(text: &str) -> Result<Node, serde_saphyr::Error> {
    let mut options = options(MergeKeyPolicy::AsOrdinary);
    options.budget = None;
    serde_saphyr::from_str_with_options(text, options)
}

impl Node {
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "empty",
            Value::Bool(_) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// A scalar as it is written.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Bool(true) => Some("true"),
            Value::Bool(false) => Some("false"),
            Value::Number(text) | Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The place, or as much of the way to it as is there. A key may stand under either of several
    /// names (a region under its name or its label).
    pub(super) fn find(
        &self,
        place: &Place,
        of_key: bool,
        names: &dyn Fn(&str) -> Vec<String>,
    ) -> (At, bool) {
        let mut node = self;
        let mut at = At::START;
        for (n, step) in place.0.iter().enumerate() {
            let of_key = of_key && n + 1 == place.0.len();
            let next = match (step, &node.value) {
                (Step::Key(key), Value::Map(entries)) => {
                    let entry = entries
                        .iter()
                        .find(|entry| entry.key == *key)
                        .or_else(|| entries.iter().find(|entry| names(key).contains(&entry.key)));
                    entry.map(|entry| match entry.node.value {
                        _ if of_key => (&entry.node, entry.key_at),
                        // What stands below starts on another line, or says less than its key.
                        Value::Map(_) | Value::List(_) | Value::Null => (&entry.node, entry.key_at),
                        _ => (&entry.node, entry.node.at),
                    })
                }
                (Step::Index(index), Value::List(nodes)) => nodes.get(*index).map(|node| (node, node.at)),
                // One value may stand for a list of one.
                (Step::Index(0), _) => Some((node, at)),
                _ => None,
            };
            match next {
                Some(found) => (node, at) = found,
                None => return (at, false),
            }
        }
        (at, true)
    }

    /// Merge keys (`<<: *defaults`): what is not set here is taken from there.
    fn merge(&mut self) {
        match &mut self.value {
            Value::List(nodes) => nodes.iter_mut().for_each(Node::merge),
            Value::Map(entries) => {
                entries.iter_mut().for_each(|entry| entry.node.merge());
                if !entries.iter().any(|entry| entry.key == "<<") {
                    return;
                }
                let (merged, mut own): (Vec<Entry>, Vec<Entry>) =
                    std::mem::take(entries).into_iter().partition(|entry| entry.key == "<<");
                for entry in merged {
                    let sources = match entry.node.value {
                        Value::Map(_) => vec![entry.node],
                        Value::List(nodes) => nodes,
                        _ => Vec::new(), // refused by the second reading
                    };
                    for source in sources {
                        let Value::Map(more) = source.value else { continue };
                        for entry in more {
                            if !own.iter().any(|mine| mine.key == entry.key) {
                                own.push(entry);
                            }
                        }
                    }
                }
                *entries = own;
            }
            _ => {}
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(from)?;
        Ok(Node { at: At::new(spanned.defined), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        Value::deserialize(from)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, node)) = map.next_entry::<Spanned<String>, Node>()? {
            entries.push(Entry { key: key.value, key_at: At::new(key.defined), node });
        }
        Ok(Value::Map(entries))
    }
}
