//! Who we say we are (contract 2.3).

use std::collections::BTreeMap;

use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use proto::discovery::Node;
use serde_json::Value as Json;

use crate::environment::NodeSettings;

/// The address of a node that was not told its own.
const NO_ADDRESS: &str = "1.1.1.1";

pub(super) fn node(settings: &NodeSettings) -> Node {
    let NodeSettings { instance_ip, pod_name, pod_namespace, node_name, metadata } = settings;
    let ip = instance_ip.map_or_else(|| NO_ADDRESS.to_owned(), |ip| ip.to_string());
    let id = format!("ztunnel~{ip}~{pod_name}.{pod_namespace}~{pod_namespace}.svc.cluster.local");
    let own = [
        ("NAME", pod_name.as_str()),
        ("NAMESPACE", pod_namespace),
        ("INSTANCE_IPS", &ip),
        ("NODE_NAME", node_name),
    ];
    let own = own.into_iter().map(|(key, value)| (key.to_owned(), text(value)));
    let set = metadata.iter().map(|(key, value)| (key.clone(), value_of(value)));
    Node { id, metadata: Some(Struct { fields: own.chain(set).collect() }), ..Node::default() }
}

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

fn value_of(json: &Json) -> Value {
    let kind = match json {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(*value),
        // A number is a double in this message.
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(list) => Kind::ListValue(ListValue { values: list.iter().map(value_of).collect() }),
        Json::Object(map) => {
            let fields: BTreeMap<_, _> =
                map.iter().map(|(key, value)| (key.clone(), value_of(value))).collect();
            Kind::StructValue(Struct { fields })
        }
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settings() -> NodeSettings {
        NodeSettings {
            instance_ip: None,
            pod_name: String::new(),
            pod_namespace: String::new(),
            node_name: "10.0.0.1".to_owned(),
            metadata: serde_json::Map::new(),
        }
    }

    #[test]
    fn the_id_has_empty_parts_where_nothing_is_set() {
        assert_eq!(node(&settings()).id, "ztunnel~1.1.1.1~.~.svc.cluster.local");
        let known = NodeSettings {
            instance_ip: Some("10.0.0.7".parse().unwrap()),
            pod_name: "ztunnel-x".to_owned(),
            pod_namespace: "kube-system".to_owned(),
            ..settings()
        };
        let expected = "ztunnel~10.0.0.7~ztunnel-x.kube-system~kube-system.svc.cluster.local";
        assert_eq!(node(&known).id, expected);
    }

    #[test]
    fn what_the_environment_sets_is_among_the_metadata() {
        let json = r#"{"ENABLE_HBONE": "true", "LIST": [1, null, {"a": false}]}"#;
        let metadata = serde_json::from_str(json).unwrap();
        let fields = node(&NodeSettings { metadata, ..settings() }).metadata.unwrap().fields;
        assert_eq!(fields["NODE_NAME"], text("10.0.0.1"));
        assert_eq!(fields["INSTANCE_IPS"], text("1.1.1.1"));
        assert_eq!(fields["NAME"], text(""));
        assert_eq!(fields["ENABLE_HBONE"], text("true"));
        let Some(Kind::ListValue(list)) = &fields["LIST"].kind else { unreachable!() };
        assert_eq!(list.values[0].kind, Some(Kind::NumberValue(1.0)));
        assert_eq!(list.values[1].kind, Some(Kind::NullValue(0)));
        assert!(matches!(list.values[2].kind, Some(Kind::StructValue(_))));
    }
}
