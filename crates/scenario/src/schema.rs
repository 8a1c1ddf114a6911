//! The grammar as JSON Schema, so that editors complete keys and show what they mean.

use netsplit_model::signal;
use netsplit_netmodel::regions::REGIONS;
use serde_json::{Map, Value, json};

use crate::grammar::{self, Key, Kind, Shape, VERBS, Verb};

/// The JSON Schema (draft 2020-12) of scenario files, for editors that read TOML with one. It knows the words, their
/// kinds and their places; names, regular expressions and commands are only checked by `netsplit lint`.
pub fn schema() -> Value {
    let mut definitions: Map<_, _> =
        grammar::SHAPES.iter().skip(1).map(|shape| (shape.slug.to_owned(), object(shape))).collect();
    definitions.insert("step".to_owned(), step());
    definitions.insert("steps".to_owned(), json!({ "type": "array", "items": { "$ref": "#/$defs/step" } }));
    let mut top = object(&grammar::TOP);
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "netsplit scenario",
        "$defs": definitions,
    });
    if let (Value::Object(top), Value::Object(head)) = (&mut top, head) {
        top.extend(head);
    }
    top
}

fn object(shape: &Shape) -> Value {
    let properties: Map<_, _> = shape.keys.iter().map(|key| (key.word.to_owned(), described(key))).collect();
    let must: Vec<_> = shape.keys.iter().filter(|key| key.must).map(|key| key.word).collect();
    let mut object = json!({
        "type": "object",
        "description": shape.about,
        "properties": properties,
        "additionalProperties": false,
    });
    if !must.is_empty() {
        object["required"] = json!(must);
    }
    object
}

fn described(key: &Key) -> Value {
    with_docs(kind(key.kind), key.about, key.word, key.example)
}

/// Adds what editors show: the sentence, and for Taplo an example too.
fn with_docs(mut schema: Value, about: &str, word: &str, example: &str) -> Value {
    let example = if example.starts_with("[[") { example.to_owned() } else { format!("{word} = {example}") };
    schema["description"] = json!(about);
    schema["x-taplo"] = json!({ "docs": { "main": format!("{about}\n\n`{example}`") } });
    schema
}

fn step() -> Value {
    let mut properties = Map::new();
    for verb in VERBS {
        let docs = json!({ "docs": { "main": format!("{}\n\n`{}`", verb.about, verb.example) } });
        let mut schema = kind(verb.kind);
        schema["description"] = json!(verb.about);
        schema["x-taplo"] = docs;
        properties.insert(verb.word.to_owned(), schema);
    }
    for verb in VERBS {
        for key in verb.takes.iter().filter(|key| !properties_of_earlier(verb, key)) {
            properties.insert(key.word.to_owned(), modifier(key.word));
        }
    }
    let one: Vec<_> = VERBS.iter().map(|verb| json!({ "required": [verb.word] })).collect();
    json!({
        "type": "object",
        "description": "One thing to do: a verb, and the words that may follow it.",
        "properties": properties,
        "additionalProperties": false,
        "oneOf": one,
        "allOf": VERBS.iter().map(goes_with).collect::<Vec<_>>(),
    })
}

fn properties_of_earlier(verb: &Verb, key: &Key) -> bool {
    let earlier = VERBS.iter().take_while(|earlier| earlier.word != verb.word);
    earlier.into_iter().any(|earlier| earlier.takes(key.word).is_some())
}

/// A word that follows several verbs, with all that it may be and mean.
fn modifier(word: &str) -> Value {
    let uses: Vec<_> = VERBS.iter().filter_map(|verb| Some((verb.word, verb.takes(word)?))).collect();
    let mut schemas: Vec<Value> = Vec::new();
    let mut abouts: Vec<(&str, Vec<&str>)> = Vec::new();
    for (verb, key) in &uses {
        let schema = kind(key.kind);
        if !schemas.contains(&schema) {
            schemas.push(schema);
        }
        match abouts.iter_mut().find(|(about, _)| *about == key.about) {
            Some((_, verbs)) => verbs.push(verb),
            None => abouts.push((key.about, vec![verb])),
        }
    }
    let schema = if schemas.len() == 1 { schemas.remove(0) } else { json!({ "anyOf": schemas }) };
    let about = match &abouts[..] {
        [(about, _)] => (*about).to_owned(),
        abouts => {
            let each = abouts.iter().map(|(about, verbs)| format!("{}: {about}", verbs.join(", ")));
            each.collect::<Vec<_>>().join(" ")
        }
    };
    let example = uses.first().map_or("", |(_, key)| key.example);
    with_docs(schema, &about, word, example)
}

/// The words that may follow a verb, their kinds there, and those that must.
fn goes_with(verb: &Verb) -> Value {
    let words: Vec<_> = std::iter::once(verb.word).chain(verb.takes.iter().map(|key| key.word)).collect();
    let kinds: Map<_, _> = verb.takes.iter().map(|key| (key.word.to_owned(), kind(key.kind))).collect();
    let must: Vec<_> = verb.takes.iter().filter(|key| key.must).map(|key| key.word).collect();
    json!({
        "if": { "required": [verb.word] },
        "then": { "propertyNames": { "enum": words }, "properties": kinds, "required": must },
    })
}

fn kind(kind_: Kind) -> Value {
    let one_or_many =
        |one: Value| json!({ "anyOf": [one.clone(), { "type": "array", "items": one, "minItems": 1 }] });
    match kind_ {
        Kind::Text | Kind::Path | Kind::Expect => json!({ "type": "string" }),
        Kind::Name
        | Kind::Hosts
        | Kind::HostsOrHere
        | Kind::HostsOrProcess
        | Kind::HostsOrLinks
        | Kind::FaultName
        | Kind::Process => {
            json!({ "type": "string", "minLength": 1 })
        }
        Kind::Links
        | Kind::Groups
        | Kind::Regions
        | Kind::Delay
        | Kind::Queue
        | Kind::Share
        | Kind::Rate
        | Kind::Packets
        | Kind::Mtu
        | Kind::Distribution
        | Kind::Preset
        | Kind::Network
        | Kind::RouterDoes => of_network(kind_),
        Kind::Texts | Kind::Paths | Kind::Command => one_or_many(json!({ "type": "string" })),
        Kind::Duration => {
            json!({ "type": "string", "pattern": r"^\s*([0-9.]+\s*(ns|us|ms|s|m|h|d)\s*)+$" })
        }
        Kind::Size => {
            json!({ "type": "string", "pattern": r"^\s*([0-9.]+\s*(B|kB|MB|GB|KiB|MiB|GiB|TiB)\s*)+$" })
        }
        Kind::Count => json!({ "type": "integer", "minimum": 1 }),
        Kind::Number => json!({ "type": ["number", "string"] }),
        Kind::Lines => json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "type": "string" }] }),
        Kind::HowMany => json!({ "anyOf": [{ "type": "integer", "minimum": 1 }, { "const": "all" }] }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Regex => json!({ "type": "string", "minLength": 1 }),
        Kind::Regexes => one_or_many(json!({ "type": "string", "minLength": 1 })),
        Kind::Mode => json!({ "type": "string", "pattern": "^(0o)?[0-7]{3,5}$" }),
        Kind::Signal => {
            json!({ "anyOf": [{ "enum": signal::names().collect::<Vec<_>>() }, { "type": "string" }] })
        }
        Kind::Since => {
            json!({ "anyOf": [{ "enum": ["begin", "test", "disturbance", "now"] }, kind(Kind::Duration)] })
        }
        Kind::Exit => {
            let code = json!({ "type": "integer", "minimum": 0, "maximum": 255 });
            let words = json!({ "type": "string", "pattern": "^(nonzero|any|signal .+)$" });
            json!({ "anyOf": [code.clone(), { "type": "array", "items": code, "minItems": 1 }, words] })
        }
        Kind::Json => json!({ "type": "object", "minProperties": 1 }),
        Kind::Save => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Same => json!({ "enum": ["bytes", "prefix"] }),
        Kind::Version => json!({ "type": "string", "pattern": r"^\s*(>=)?\s*[0-9]+(\.[0-9]+){0,2}\s*$" }),
        Kind::Capabilities => capabilities(),
        Kind::Variable => json!({ "anyOf": [{ "type": "string" }, { "const": false }] }),
        Kind::HostNames => json!({ "type": "array", "items": host_name(), "minItems": 1 }),
        Kind::Hint => json!({ "type": "object" }),
        Kind::Steps => json!({ "$ref": "#/$defs/steps" }),
        Kind::Tests => json!({ "type": "array", "items": { "$ref": "#/$defs/test" } }),
        Kind::Axis => axis(),
        Kind::Table(shape) => json!({ "$ref": format!("#/$defs/{}", shape.slug) }),
        Kind::Map(inner) => json!({ "type": "object", "additionalProperties": kind(*inner) }),
        Kind::Either(kinds) => json!({ "anyOf": kinds.iter().map(|inner| kind(*inner)).collect::<Vec<_>>() }),
    }
}

fn capabilities() -> Value {
    let words: Vec<_> = grammar::capabilities().collect();
    json!({ "anyOf": [{ "type": "array", "items": { "enum": words } }, { "type": "string" }] })
}

fn host_name() -> Value {
    json!({ "type": "string", "pattern": "^[a-z]([a-z0-9-]*[a-z0-9])?$", "maxLength": 63 })
}

/// Values, or steps by the name of their case.
fn axis() -> Value {
    let value = json!({ "type": ["string", "number", "boolean"] });
    let case = json!({ "anyOf": [{ "$ref": "#/$defs/step" }, { "$ref": "#/$defs/steps" }] });
    json!({ "anyOf": [
        { "type": "array", "items": value, "minItems": 1 },
        { "type": "object", "additionalProperties": case, "minProperties": 1 },
    ] })
}

/// What only faults, networks and routers want.
fn of_network(kind_: Kind) -> Value {
    // A value of the matrix fits everywhere.
    let filled = || json!({ "type": "string", "pattern": "%\\{" });
    let one_of = |words: Vec<String>| json!({ "anyOf": [{ "enum": words }, filled()] });
    let number = |minimum: u32, maximum: u32| {
        json!({ "anyOf": [{ "type": "number", "minimum": minimum, "maximum": maximum },
                          { "type": "string", "pattern": r"^\s*[0-9.]+\s*$" }, filled()] })
    };
    match kind_ {
        Kind::Links => json!({ "type": "string", "pattern": r"\s(to|and)\s|%\{" }),
        Kind::Groups => {
            json!({ "type": "array", "items": { "type": "string", "minLength": 1 }, "minItems": 2 })
        }
        Kind::Regions => {
            let hosts: Map<_, _> =
                REGIONS.iter().map(|name| ((*name).to_owned(), kind(Kind::Hosts))).collect();
            json!({ "type": "object", "properties": hosts, "additionalProperties": false, "minProperties": 1 })
        }
        Kind::Delay => json!({ "anyOf": [kind(Kind::Duration), filled()] }),
        Kind::Queue => json!({ "anyOf": [kind(Kind::Size), filled()] }),
        Kind::Share => json!({ "anyOf": [{ "type": "number", "minimum": 0, "maximum": 1 },
                                         { "type": "string", "pattern": r"^\s*[0-9.]+\s*%?\s*$" }, filled()] }),
        Kind::Rate => json!({ "type": "string", "pattern": r"^\s*[0-9.]+\s*[kmg]?bit(/s)?\s*$|%\{" }),
        Kind::Network => host_name(),
        Kind::RouterDoes => {
            json!({ "enum": grammar::router_kinds().chain(["corporate"]).collect::<Vec<_>>() })
        }
        Kind::Packets => number(1, 1_000_000),
        Kind::Mtu => number(68, 65_535),
        Kind::Distribution => one_of(grammar::distributions().collect()),
        _ => one_of(grammar::presets().map(ToOwned::to_owned).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toml::Document;

    /// The keywords that the schema uses, and no others.
    fn fits(value: &Value, schema: &Value, root: &Value) -> Result<(), String> {
        let Value::Object(schema) = schema else { return Err(format!("no schema: {schema}")) };
        for (keyword, wanted) in schema {
            check(value, keyword, wanted, schema, root).map_err(|why| format!("{why} < {keyword}"))?;
        }
        Ok(())
    }

    fn check(
        value: &Value,
        keyword: &str,
        wanted: &Value,
        schema: &Map<String, Value>,
        root: &Value,
    ) -> Result<(), String> {
        let is = |yes: bool| if yes { Ok(()) } else { Err(format!("{value}: {keyword} {wanted}")) };
        let each = || wanted.as_array().into_iter().flatten();
        let fit = |value: &Value, schema: &Value| fits(value, schema, root);
        match (keyword, value) {
            ("$schema" | "$defs" | "title" | "description" | "x-taplo" | "then", _) => Ok(()),
            ("$ref", _) => {
                fit(value, root.pointer(wanted.as_str().unwrap().trim_start_matches('#')).unwrap())
            }
            ("type", _) => {
                let named = |name: &Value| match name.as_str().unwrap() {
                    "string" => value.is_string(),
                    "integer" => value.is_i64(),
                    "number" => value.is_number(),
                    "boolean" => value.is_boolean(),
                    "array" => value.is_array(),
                    "object" => value.is_object(),
                    other => panic!("{other}"),
                };
                is(if wanted.is_array() { each().any(named) } else { named(wanted) })
            }
            ("enum", _) => is(each().any(|one| one == value)),
            ("const", _) => is(wanted == value),
            ("anyOf", _) => is(each().any(|one| fit(value, one).is_ok())),
            ("oneOf", _) => is(each().filter(|one| fit(value, one).is_ok()).count() == 1),
            ("allOf", _) => each().try_for_each(|one| fit(value, one)),
            ("if", _) if fit(value, wanted).is_ok() => fit(value, &schema["then"]),
            ("pattern", Value::String(text)) => {
                is(regex::Regex::new(wanted.as_str().unwrap()).unwrap().is_match(text))
            }
            ("minLength", Value::String(text)) => is(text.len() as u64 >= wanted.as_u64().unwrap()),
            ("maxLength", Value::String(text)) => is(text.len() as u64 <= wanted.as_u64().unwrap()),
            ("minimum", Value::Number(number)) => is(number.as_f64() >= wanted.as_f64()),
            ("maximum", Value::Number(number)) => is(number.as_f64() <= wanted.as_f64()),
            ("minItems", Value::Array(items)) => is(items.len() as u64 >= wanted.as_u64().unwrap()),
            ("items", Value::Array(items)) => items.iter().try_for_each(|item| fit(item, wanted)),
            ("minProperties", Value::Object(object)) => is(object.len() as u64 >= wanted.as_u64().unwrap()),
            ("required", Value::Object(object)) => {
                is(each().all(|word| object.contains_key(word.as_str().unwrap())))
            }
            ("propertyNames", Value::Object(object)) => {
                object.keys().try_for_each(|key| fit(&json!(key), wanted))
            }
            ("properties", Value::Object(object)) => {
                let known = object.iter().filter_map(|(key, value)| Some((value, wanted.get(key)?)));
                known.into_iter().try_for_each(|(value, schema)| fit(value, schema))
            }
            ("additionalProperties", Value::Object(object)) => {
                let known = schema.get("properties").cloned().unwrap_or_default();
                let mut more = object.iter().filter(|(key, _)| known.get(key.as_str()).is_none());
                match wanted {
                    Value::Bool(false) => is(more.next().is_none()),
                    wanted => more.try_for_each(|(_, value)| fit(value, wanted)),
                }
            }
            ("if" | "pattern" | "minLength" | "maxLength" | "minimum" | "maximum", _) => Ok(()),
            ("minItems" | "items" | "minProperties" | "required" | "propertyNames", _) => Ok(()),
            ("properties" | "additionalProperties", _) => Ok(()),
            other => panic!("the schema uses {other:?}"),
        }
    }

    fn check_text(text: &str) -> Result<(), String> {
        let schema = schema();
        fits(&Document::parse(text, 0).root.to_json(), &schema, &schema)
    }

    #[test]
    fn good_scenarios_fit() {
        for entry in std::fs::read_dir("tests/good").unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "toml") {
                let text = std::fs::read_to_string(&path).unwrap();
                check_text(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            }
        }
    }

    #[test]
    fn examples_of_the_grammar_fit_and_are_toml() {
        for verb in VERBS {
            check_text(&format!("[[test]]\nname = 'x'\nsteps = [{}]", verb.example)).unwrap();
        }
        for shape in grammar::SHAPES {
            for key in shape.keys.iter().filter(|key| !key.example.starts_with("[[")) {
                let text = format!("{} = {}", key.word, key.example);
                let document = Document::parse(&text, 0);
                assert!(document.syntax.is_empty(), "{text}");
                let schema = schema();
                let value = document.root.to_json()[key.word].clone();
                fits(&value, &kind(key.kind), &schema).unwrap_or_else(|why| panic!("{text}: {why}"));
            }
        }
        for key in VERBS.iter().flat_map(|verb| verb.takes) {
            let value = Document::parse(&format!("x = {}", key.example), 0).root.to_json()["x"].clone();
            fits(&value, &kind(key.kind), &schema()).unwrap_or_else(|why| panic!("{}: {why}", key.word));
        }
    }

    #[test]
    fn slips_do_not_fit() {
        for bad in [
            "abuot = 'x'",
            "tags = 3",
            "hosts.a = 0",
            "hosts.a = { cuont = 3 }",
            "env.A = true",
            "deadlines.run = 10",
            "networks.a = ['b']",
            "routers.a = { inside = 'x' }",
            "routers.a = { inside = 'x', outside = 'y', kind = 'hoem' }",
            "[[test]]\nname = 'x'",
            "[[test]]\nname = 'x'\nsteps = [{ run = 'x', start = 'x', on = 'a' }]",
            "[[test]]\nname = 'x'\nsteps = [{ on = 'a' }]",
            "[[test]]\nname = 'x'\nsteps = [{ find = 'x', on = 'a' }]",
            "[[test]]\nname = 'x'\nsteps = [{ start = 'x', on = 'a', eventually = '1s' }]",
            "[[test]]\nname = 'x'\nsteps = [{ reboot = 'a' }]",
            "[[test]]\nname = 'x'\nsteps = [{ cut = 'a' }]",
            "[[test]]\nname = 'x'\nsteps = [{ cut = 'a to b', delay = '1s' }]",
            "[[test]]\nname = 'x'\nsteps = [{ link = 'a to b', loss = 2 }]",
            "[[test]]\nname = 'x'\nsteps = [{ partition = 'a' }]",
        ] {
            assert!(check_text(bad).is_err(), "{bad}");
        }
    }
}
