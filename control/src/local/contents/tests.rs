#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn probe() {
    for text in [
        "workloads:\n- namespace: a\n  name: b\n  uid: x\n  foo: 1\n  node: x\n",
        "workloads:\n- namespace: a\n  name: b\n  uid: x\n  waypoint:\n    destination: a/b\n    hboneMtlsPort: 1\n    foo: 1\n",
        "workloads:\n- namespace: a\n  name: b\n  workloadIps: [10.0.0.300]\n",
        "workloads:\n- name: b\n  namespace: a\n  services: {a/cart: {http: 8080}}\n",
        "workloads:\n- name: b\n  namespace: a\n  services: {a/cart: {80: 80800}}\n",
        "workloads:\n- name: b\n  namespace: a\n  services: {a/cart: 80}\n",
        "workloads:\n- name: b\n  namespace: a\n  services: {cart: {80: 80}}\n",
        "workloads: []\n---\nb: 2\n",
        "workloads:\n- name: \"b\n",
        "workloads:\n\t- name: b\n",
        "workloads:\n  - name: b\n    a\n",
    ] {
        println!(
            "---\n{text}\n=> {}",
            match Contents::parse("mesh.yaml", text, &MeshSettings::default()) {
                Ok(c) => format!("{c:?}"),
                Err(e) => e.to_string(),
            }
        );
    }
}
