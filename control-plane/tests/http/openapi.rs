use std::collections::{BTreeMap, BTreeSet};

use axum::Router;
use axum::body::Body;
use axum::http::Method;
use control_plane::http::{private, private_paths, public, public_paths};
use serde_json::Value;

use crate::fixture::{Fixed, state};
use crate::{get, operator, request, send};

type Operations = BTreeMap<String, BTreeSet<String>>;

/// What a router takes: a method that no route has is answered with those that it has.
async fn served(router: &Router, paths: Vec<&'static str>, operations: &mut Operations) {
    for path in paths {
        let got = send(router, request(Method::TRACE, path, operator(), Body::empty())).await;
        let taken = got.header("allow").split(',').map(|method| method.trim().to_lowercase());
        // HEAD goes with GET, and OPTIONS is for browsers.
        let taken = taken.filter(|method| !["head", "options", ""].contains(&method.as_str()));
        operations.entry(path.to_owned()).or_default().extend(taken);
    }
}

fn documented(openapi: &Value) -> Operations {
    let paths = openapi["paths"].as_object().unwrap();
    let methods = |item: &Value| item.as_object().unwrap().keys().cloned().collect();
    paths.iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[tokio::test]
async fn every_route_is_documented_and_nothing_else() {
    let backend = Fixed::new(state());
    let (public, private) = (public(backend.clone()), private(backend));
    let openapi = get(&public, "/api/v1/openapi.json").await.json();
    let mut expected = Operations::new();
    served(&public, public_paths(), &mut expected).await;
    served(&private, private_paths(), &mut expected).await;
    assert!(expected.values().all(|methods| !methods.is_empty()), "{expected:?}");
    assert_eq!(documented(&openapi), expected);
    let same = send(&private, request(Method::GET, "/api/v1/openapi.json", operator(), Body::empty())).await;
    assert_eq!(same.json(), openapi);
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let openapi = get(&public(Fixed::new(state())), "/api/v1/openapi.json").await.json();
    let mut found = BTreeSet::new();
    references(&openapi, &mut found);
    assert!(found.len() > 10, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(openapi.pointer(pointer).is_some(), "{reference}");
    }
}
