#![allow(clippy::unwrap_used)]

use ::engine::engine::{OriginalSource, Pinning};
use ::engine::mesh::TrustDomain;
use ::engine::tls::Suite;

use super::*;

/// The least that starts in shared mode.
const SHARED: [(&str, &str); 3] = [
    ("LOCAL_XDS_PATH", "/etc/ringway/mesh.yaml"),
    ("RINGWAY_PODS_PATH", "/etc/ringway/pods.yaml"),
    ("RINGWAY_CA_DIR", "/var/lib/ringway"),
];

fn machine(allowed: usize, cores: usize) -> Machine {
    Machine { allowed: (0..allowed).collect(), cores }
}

fn read_on(machine: &Machine, variables: &[(&str, &str)]) -> Result<Environment, EnvironmentError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Environment::read(variables, machine)
}

/// The shared environment with these variables on top.
fn shared(more: &[(&str, &str)]) -> Result<Environment, EnvironmentError> {
    read_on(&machine(4, 4), &[&SHARED[..], more].concat())
}

/// The names of the variables that were refused.
fn refused(result: Result<Environment, EnvironmentError>) -> Vec<&'static str> {
    result.err().map(|error| error.0.iter().map(|problem| problem.name).collect()).unwrap_or_default()
}

#[test]
fn defaults_are_the_contract_s() {
    let environment = shared(&[]).unwrap();
    assert_eq!(environment.mode, Mode::Shared { pods: PodSource::File("/etc/ringway/pods.yaml".into()) });
    assert_eq!(environment.mesh_source, MeshSource::File("/etc/ringway/mesh.yaml".into()));
    assert_eq!(
        environment.certificates,
        CertificateSettings::Embedded(CaSettings {
            dir: "/var/lib/ringway".into(),
            ttl: Duration::from_secs(3_600)
        })
    );
    assert_eq!(
        environment.mesh,
        MeshSettings {
            network: "".into(),
            cluster_id: "Kubernetes".into(),
            trust_domain: TrustDomain::new("cluster.local"),
            domain: "cluster.local".into(),
        }
    );
    assert_eq!(environment.suites, Suites { preferred: Suite::Aes128Gcm, second: Some(Suite::Aes256Gcm) });
    assert_eq!(environment.drain_deadline, Duration::from_secs(5));
    assert_eq!(environment.readiness_address.to_string(), "[::]:15021");
    let log = LogSettings { filter: "info".to_owned(), format: LogFormat::Plain, findings_at_info: false };
    assert_eq!(environment.log, log);
    assert!(environment.warnings.is_empty(), "{:?}", environment.warnings);

    let engine = environment.engine;
    assert_eq!((engine.shards, engine.pinning, engine.packet_mark), (2, Pinning::Off, Some(1337)));
    assert_eq!(engine.original_source, OriginalSource::Try);
    assert!(engine.ipv6 && engine.port_reuse && engine.response_baggage);
    let keepalive = engine.keepalive.unwrap();
    assert_eq!((keepalive.time, keepalive.interval), (Duration::from_secs(180), Duration::from_secs(180)));
    assert_eq!((keepalive.retries, keepalive.user_timeout), (9, false));
    assert_eq!((engine.tunnel_streams_max, engine.tunnel_unused_release), (100, Duration::from_secs(300)));
    assert_eq!((engine.stream_window, engine.frame_size), (4_194_304, 1_048_576));
}

#[test]
fn every_setting_is_followed() {
    let environment = shared(&[
        ("NETWORK", "north"),
        ("CLUSTER_ID", "blue"),
        ("CLUSTER_DOMAIN", "example.org"),
        ("TRUST_DOMAIN", "spiffe.cilium"),
        ("NODE_NAME", "10.0.0.7"),
        ("PACKET_MARK", "0xa539"),
        ("ENABLE_ORIG_SRC", "true"),
        ("IPV6_ENABLED", "false"),
        ("INPOD_PORT_REUSE", "false"),
        ("KEEPALIVE_TIME", "30s"),
        ("KEEPALIVE_INTERVAL", "1500ms"),
        ("KEEPALIVE_RETRIES", "3"),
        ("USER_TIMEOUT_ENABLED", "true"),
        ("POOL_MAX_STREAMS_PER_CONNECTION", "7"),
        ("POOL_UNUSED_RELEASE_TIMEOUT", "1m"),
        ("HTTP2_STREAM_WINDOW_SIZE", "65535"),
        ("HTTP2_FRAME_SIZE", "16384"),
        ("ENABLE_RESPONSE_BAGGAGE", "false"),
        ("RINGWAY_CA_TTL", "10m"),
        ("RINGWAY_TLS_SUITES", "aes256"),
        ("CONNECTION_TERMINATION_DEADLINE", "0s"),
        ("RUST_LOG", "debug,access=off"),
        ("LOG_FORMAT", "json"),
        ("AUTHZ_POLICY_INFO_LOGGING", "true"),
        ("ZTUNNEL_WORKER_THREADS", "3"),
        ("RINGWAY_PIN", "3,0-1"),
    ])
    .unwrap();
    assert_eq!(&*environment.mesh.network, "north");
    assert_eq!(&*environment.mesh.cluster_id, "blue");
    assert_eq!(&*environment.mesh.domain, "example.org");
    assert_eq!(environment.mesh.trust_domain, TrustDomain::new("spiffe.cilium"));
    assert_eq!(environment.node_name.as_deref(), Some("10.0.0.7"));
    assert!(matches!(environment.certificates, CertificateSettings::Embedded(ca) if ca.ttl.as_secs() == 600));
    assert_eq!(environment.suites, Suites { preferred: Suite::Aes256Gcm, second: None });
    assert_eq!(environment.drain_deadline, Duration::ZERO);
    assert_eq!(environment.readiness_address.to_string(), "0.0.0.0:15021");
    assert_eq!(
        environment.log,
        LogSettings {
            filter: "debug,access=off".to_owned(),
            format: LogFormat::Json,
            findings_at_info: true
        }
    );
    assert_eq!(environment.control_core, Some(2));

    let engine = environment.engine;
    assert_eq!((engine.shards, engine.pinning), (3, Pinning::List(vec![3, 0, 1])));
    assert_eq!((engine.packet_mark, engine.original_source), (Some(0xa539), OriginalSource::Require));
    assert!(!engine.ipv6 && !engine.port_reuse && !engine.response_baggage);
    let keepalive = engine.keepalive.unwrap();
    assert_eq!((keepalive.time, keepalive.interval), (Duration::from_secs(30), Duration::from_millis(1_500)));
    assert_eq!((keepalive.retries, keepalive.user_timeout), (3, true));
    assert_eq!((engine.tunnel_streams_max, engine.tunnel_unused_release), (7, Duration::from_secs(60)));
    assert_eq!((engine.stream_window, engine.frame_size), (65_535, 16_384));
}

#[test]
fn some_settings_more() {
    assert_eq!(
        shared(&[("ENABLE_ORIG_SRC", "false")]).unwrap().engine.original_source,
        OriginalSource::Never
    );
    assert!(shared(&[("KEEPALIVE_ENABLED", "false")]).unwrap().engine.keepalive.is_none());
    let meta = shared(&[("CLUSTER_ID", "blue"), ("ISTIO_META_CLUSTER_ID", "red")]).unwrap();
    assert_eq!(&*meta.mesh.cluster_id, "red");
    let local = shared(&[("READINESS_BIND_ADDRESS", "127.0.0.1")]).unwrap();
    assert_eq!(local.readiness_address.to_string(), "127.0.0.1:15021");
    let concurrent = shared(&[("PROXY_CONFIG", "concurrency: 4\nstatusPort: 9\n")]).unwrap();
    assert_eq!(concurrent.engine.shards, 4);
    assert!(shared(&[("PACKET_MARK", "")]).is_ok(), "an empty value is unset");
}

#[test]
fn inline_mesh() {
    let variables = [("LOCAL_XDS", "workloads: []"), SHARED[1], SHARED[2]];
    let environment = read_on(&machine(4, 4), &variables).unwrap();
    assert_eq!(environment.mesh_source, MeshSource::Inline("workloads: []".to_owned()));
    assert_eq!(refused(shared(&[("LOCAL_XDS", "{}")])), ["LOCAL_XDS_PATH"]);
}

#[test]
fn dedicated_mode_has_one_pod_and_no_mark() {
    let dedicated =
        [SHARED[0], SHARED[2], ("PROXY_MODE", "dedicated"), ("PROXY_WORKLOAD_INFO", "shop/cart-0/cart")];
    let environment = read_on(&machine(4, 4), &dedicated).unwrap();
    let workload = WorkloadName {
        namespace: "shop".to_owned(),
        name: "cart-0".to_owned(),
        service_account: "cart".to_owned(),
    };
    assert_eq!(environment.mode, Mode::Dedicated { workload });
    assert_eq!(environment.engine.packet_mark, None);

    for (mode, on_behalf) in [(&dedicated[2..], false), (&[][..], true)] {
        let environment = read_on(&machine(4, 4), &[&CILIUM[..], mode].concat()).unwrap();
        let CertificateSettings::Istio(ca) = environment.certificates else { panic!("no CA") };
        assert_eq!(ca.on_behalf, on_behalf);
    }

    let marked = read_on(&machine(4, 4), &[&dedicated[..], &[("PACKET_MARK", "7")]].concat()).unwrap();
    assert_eq!(marked.engine.packet_mark, Some(7));
    assert_eq!(refused(read_on(&machine(4, 4), &dedicated[..3])), ["PROXY_WORKLOAD_INFO"]);
    for info in ["shop/cart-0", "shop/cart-0/cart/x", "shop//cart", "/"] {
        assert_eq!(
            refused(read_on(&machine(4, 4), &[&dedicated[..3], &[("PROXY_WORKLOAD_INFO", info)]].concat())),
            ["PROXY_WORKLOAD_INFO"],
            "{info}"
        );
    }
}

#[test]
fn drain_time_as_a_table() {
    for (deadline, grace, seconds) in [
        (None, None, 5),
        (None, Some("30"), 25),
        (None, Some("11"), 6),
        (None, Some("10"), 9),
        (None, Some("1"), 1),
        (None, Some("0"), 1),
        (Some("90s"), Some("30"), 90),
    ] {
        let set = |name, value: Option<&'static str>| value.map(|value| (name, value));
        let variables: Vec<_> = [
            set("CONNECTION_TERMINATION_DEADLINE", deadline),
            set("TERMINATION_GRACE_PERIOD_SECONDS", grace),
        ]
        .into_iter()
        .flatten()
        .collect();
        let environment = shared(&variables).unwrap();
        assert_eq!(environment.drain_deadline, Duration::from_secs(seconds), "{deadline:?} {grace:?}");
    }
}

#[test]
fn pinning_as_a_table() {
    for (allowed, cores, pin, pinning, control_core) in [
        (4, 4, None, Pinning::Off, None),
        (3, 8, None, Pinning::Spread, Some(2)),
        (2, 8, None, Pinning::Spread, None),
        (3, 8, Some("off"), Pinning::Off, None),
        (4, 4, Some("spread"), Pinning::Spread, Some(2)),
        (4, 4, Some("1,3"), Pinning::List(vec![1, 3]), Some(0)),
        (2, 2, Some("0,1"), Pinning::List(vec![0, 1]), None),
    ] {
        let pin: Vec<_> = pin.map(|pin| ("RINGWAY_PIN", pin)).into_iter().collect();
        let environment = read_on(&machine(allowed, cores), &[&SHARED[..], &pin].concat()).unwrap();
        assert_eq!(environment.engine.pinning, pinning, "{allowed} of {cores}, {pin:?}");
        assert_eq!(environment.control_core, control_core, "{allowed} of {cores}, {pin:?}");
    }
    for pin in ["on", "0", "0,9", "0-1-2", "0,0"] {
        assert_eq!(refused(shared(&[("RINGWAY_PIN", pin)])), ["RINGWAY_PIN"], "{pin}");
    }
}

#[test]
fn values_out_of_bounds_are_refused() {
    for (name, value) in [
        ("PROXY_MODE", "sidecar"),
        ("PACKET_MARK", "none"),
        ("ENABLE_ORIG_SRC", "auto"),
        ("IPV6_ENABLED", "1"),
        ("INPOD_PORT_REUSE", "no"),
        ("KEEPALIVE_ENABLED", "yes"),
        ("KEEPALIVE_TIME", "0s"),
        ("KEEPALIVE_TIME", "999ms"),
        ("KEEPALIVE_TIME", "32768s"),
        ("KEEPALIVE_INTERVAL", "soon"),
        ("KEEPALIVE_INTERVAL", "500ms"),
        ("KEEPALIVE_INTERVAL", "1d"),
        ("KEEPALIVE_RETRIES", "128"),
        ("USER_TIMEOUT_ENABLED", "2"),
        ("POOL_MAX_STREAMS_PER_CONNECTION", "0"),
        ("POOL_UNUSED_RELEASE_TIMEOUT", "-1s"),
        ("HTTP2_STREAM_WINDOW_SIZE", "65534"),
        ("HTTP2_STREAM_WINDOW_SIZE", "2147483648"),
        ("HTTP2_CONNECTION_WINDOW_SIZE", "x"),
        ("HTTP2_FRAME_SIZE", "16383"),
        ("HTTP2_FRAME_SIZE", "16777216"),
        ("ENABLE_RESPONSE_BAGGAGE", "x"),
        ("ZTUNNEL_WORKER_THREADS", "257"),
        ("ZTUNNEL_CPU_LIMIT", "x"),
        ("ZTUNNEL_RESOURCE_CPU_LIMIT", "1g"),
        ("ZTUNNEL_RESOURCE_CPU_REQUEST", "-1"),
        ("CONNECTION_TERMINATION_DEADLINE", "x"),
        ("TERMINATION_GRACE_PERIOD_SECONDS", "30s"),
        ("SPIRE_ENABLED", "yes"),
        ("RINGWAY_CA_TTL", "9s"),
        ("RINGWAY_CA_TTL", "91d"),
        ("SECRET_TTL", "x"),
        ("RINGWAY_TLS_SUITES", "aes256,chacha20"),
        ("TRUST_DOMAIN", "spiffe://cluster.local"),
        ("TRUST_DOMAIN", "Cluster.Local"),
        ("READINESS_BIND_ADDRESS", "localhost"),
        ("RUST_LOG", "access=loud"),
        ("RUST_LOG", "warning"),
        ("RUST_LOG", "info,chatty"),
        ("LOG_FORMAT", "xml"),
        ("PROXY_CONFIG", "concurrency: many"),
        ("LOCALHOST_APP_TUNNEL", "x"),
        ("AUTHZ_POLICY_INFO_LOGGING", "x"),
    ] {
        assert_eq!(refused(shared(&[(name, value)])), [name], "{name}={value}");
    }
}

#[test]
fn what_we_do_not_have_is_refused() {
    for (name, value) in [
        ("TLS12_ENABLED", "true"),
        ("UNSTABLE_ENABLE_SOCKS5", "true"),
        ("COMPLIANCE_POLICY", "pqc"),
        ("COMPLIANCE_POLICY", "fips"),
        ("ISTIO_META_DNS_CAPTURE", "TRUE"),
        ("XDS_ON_DEMAND", "true"),
        ("FAKE_CA", "true"),
        ("ENABLE_PROXY", "false"),
        ("CA_PROVIDER", "spiffe_broker"),
        ("CA_PROVIDER", "vault"),
    ] {
        assert_eq!(refused(shared(&[(name, value)])), [name], "{name}={value}");
    }
    for (name, value) in [
        ("TLS12_ENABLED", "false"),
        ("ISTIO_META_DNS_CAPTURE", "false"),
        ("ENABLE_PROXY", "true"),
        ("CA_PROVIDER", "istio_ca"),
    ] {
        assert!(shared(&[(name, value)]).is_ok(), "{name}={value}");
    }
}

/// What Cilium's chart sets.
const CILIUM: [(&str, &str); 9] = [
    ("XDS_ADDRESS", "https://localhost:15012"),
    ("XDS_ROOT_CA", "/etc/ztunnel/bootstrap-root.crt"),
    ("CA_ROOT_CA", "/etc/ztunnel/bootstrap-root.crt"),
    ("CA_ADDRESS", "https://localhost:15012"),
    ("INPOD_UDS", "/var/run/cilium/ztunnel.sock"),
    ("NODE_NAME", "10.0.0.7"),
    ("INSTANCE_IP", "10.0.0.7"),
    ("ISTIO_META_DNS_CAPTURE", "false"),
    ("ISTIO_META_ENABLE_HBONE", "true"),
];

#[test]
fn cilium_s_chart_is_all_that_is_needed() {
    let environment = read_on(&machine(4, 4), &CILIUM).unwrap();
    let MeshSource::Xds(xds) = environment.mesh_source else { panic!("no xDS") };
    assert_eq!(xds.channel.endpoint, Endpoint::Tls { host: "localhost".to_owned(), port: 15012 });
    assert_eq!(xds.channel.root, Root::File("/etc/ztunnel/bootstrap-root.crt".into()));
    assert_eq!((xds.node.instance_ip, xds.node.node_name.as_str()), ("10.0.0.7".parse().ok(), "10.0.0.7"));
    assert_eq!((xds.node.pod_name.as_str(), xds.node.pod_namespace.as_str()), ("", ""));
    assert_eq!(xds.node.metadata["ENABLE_HBONE"], "true");
    let pods = PodSource::Zds("/var/run/cilium/ztunnel.sock".into());
    assert_eq!(environment.mode, Mode::Shared { pods });
    let CertificateSettings::Istio(ca) = environment.certificates else { panic!("no CA") };
    assert_eq!(ca.channel.endpoint, Endpoint::Tls { host: "localhost".to_owned(), port: 15012 });
    assert_eq!(ca.ttl, Duration::from_secs(86_400));
    assert_eq!(environment.admin_address.to_string(), "127.0.0.1:15000");
    assert_eq!(environment.stats_address.to_string(), "[::]:15020");
    assert!(environment.warnings.is_empty(), "{:?}", environment.warnings);
}

#[test]
fn what_is_local_goes_before_a_control_plane() {
    let environment = shared(&CILIUM).unwrap();
    let warned = |name: &str| environment.warnings.iter().any(|warning| warning.starts_with(name));
    assert!(
        warned("XDS_ADDRESS") && warned("CA_ADDRESS") && warned("INPOD_UDS"),
        "{:?}",
        environment.warnings
    );
    assert_eq!(environment.mode, Mode::Shared { pods: PodSource::File("/etc/ringway/pods.yaml".into()) });
}

#[test]
fn istio_s_defaults_count_in_a_cluster() {
    let cluster = [("KUBERNETES_SERVICE_HOST", "10.96.0.1"), ("XDS_HEADER_X-Key", "v"), ("CA_HEADER_Y", "w")];
    let environment = read_on(&machine(4, 4), &cluster).unwrap();
    let istiod = Endpoint::Tls { host: "istiod.istio-system.svc".to_owned(), port: 15012 };
    let MeshSource::Xds(xds) = environment.mesh_source else { panic!("no xDS") };
    assert_eq!(xds.channel.endpoint, istiod);
    assert_eq!(xds.channel.headers, [("x-key".to_owned(), "v".to_owned())]);
    let CertificateSettings::Istio(ca) = environment.certificates else { panic!("no CA") };
    assert_eq!((ca.channel.endpoint, ca.channel.headers.len()), (istiod, 1));
    let pods = PodSource::Zds("/var/run/ztunnel/ztunnel.sock".into());
    assert_eq!(environment.mode, Mode::Shared { pods });
}

#[test]
fn spire_as_the_fork_names_it() {
    let spire = |more: &[(&str, &str)]| {
        let environment =
            read_on(&machine(4, 4), &[&CILIUM[..], &[("SPIRE_ENABLED", "true")], more].concat());
        environment.map(|environment| match environment.certificates {
            CertificateSettings::Spire(spire) => spire,
            other => panic!("{other:?}"),
        })
    };
    let settings = spire(&[]).unwrap();
    assert_eq!(settings.admin_socket.to_str(), Some("/run/spire/sockets/admin.sock"));
    let runtime_socket = "/run/containerd/containerd.sock".into();
    assert_eq!(settings.attestation, Attestation::Pid { runtime_socket });
    assert_eq!(settings.timeout, Duration::from_secs(10));
    let settings = spire(&[
        ("SPIRE_ADMIN_ENDPOINT_SOCKET", "unix:///run/spire/admin/admin.sock"),
        ("SPIRE_TIMEOUT", "3s"),
        ("RINGWAY_SPIRE_ATTEST", "selectors"),
        ("RINGWAY_SPIRE_FEDERATED_TRUST_DOMAINS", "east.example, west.example"),
    ])
    .unwrap();
    assert_eq!(settings.admin_socket.to_str(), Some("/run/spire/admin/admin.sock"));
    assert_eq!((settings.attestation, settings.timeout), (Attestation::Selectors, Duration::from_secs(3)));
    assert_eq!(
        settings.federated.iter().map(TrustDomain::as_str).collect::<Vec<_>>(),
        ["east.example", "west.example"]
    );
    for (name, value) in [
        ("SPIRE_ADMIN_ENDPOINT_SOCKET", "admin.sock"),
        ("SPIRE_TIMEOUT", "0s"),
        ("RINGWAY_SPIRE_ATTEST", "both"),
        ("CONTAINER_RUNTIME_SOCK_PATH", "run/containerd"),
        ("RINGWAY_SPIRE_FEDERATED_TRUST_DOMAINS", "a,,b"),
        ("RINGWAY_CA_DIR", "/var/lib/ringway"),
    ] {
        let error = spire(&[(name, value)]).unwrap_err();
        assert_eq!(error.0.iter().map(|problem| problem.name).collect::<Vec<_>>(), [name], "{value}");
    }
}

#[test]
fn spiffe_s_broker_is_refused_by_each_of_its_variables() {
    for name in [
        "SPIFFE_BROKER_SOCKET",
        "SPIFFE_BROKER_WORKLOAD_API_SOCKET",
        "SPIFFE_BROKER_WORKLOAD_API_SPIFFE_ID",
        "SPIFFE_BROKER_ATTESTATION",
        "SPIFFE_BROKER_TIMEOUT",
    ] {
        let error = shared(&[(name, "x")]).unwrap_err().to_string();
        assert!(error.contains(&format!("SPIFFE_BROKER_*: {name}: ")), "{error}");
        assert!(shared(&[(name, "")]).is_ok(), "an empty value is unset");
    }
}

#[test]
fn keepalive_may_be_as_short_and_as_long_as_the_kernel_takes() {
    for (text, seconds) in [("1s", 1), ("32767s", 32_767)] {
        let set = [("KEEPALIVE_TIME", text), ("KEEPALIVE_INTERVAL", text)];
        let keepalive = shared(&set).unwrap().engine.keepalive.unwrap();
        assert_eq!((keepalive.time.as_secs(), keepalive.interval.as_secs()), (seconds, seconds));
    }
    let error = shared(&[("KEEPALIVE_TIME", "500ms")]).unwrap_err().to_string();
    assert!(error.contains("KEEPALIVE_TIME=500ms: must be from 1s to 32767s"), "{error}");
}

#[test]
fn more_cores_than_workers_there_may_be_are_no_reason_not_to_start() {
    for variables in [
        &[("ZTUNNEL_WORKER_THREADS", "0")][..],
        &[("ZTUNNEL_WORKER_THREADS", "100%")],
        &[("ZTUNNEL_RESOURCE_CPU_LIMIT", "300")],
        &[("PROXY_CONFIG", "concurrency: 0")],
    ] {
        let environment = read_on(&machine(384, 384), &[&SHARED[..], variables].concat()).unwrap();
        assert_eq!(environment.engine.shards, 256, "{variables:?}");
        let warnings = environment.warnings;
        assert!(warnings.len() == 1 && warnings[0].contains("at most 256"), "{variables:?}: {warnings:?}");
    }
    let named = read_on(&machine(384, 384), &[&SHARED[..], &[("PROXY_CONFIG", "concurrency: 300")]].concat());
    assert_eq!(refused(named), ["PROXY_CONFIG"]);
}

#[test]
fn metadata_of_a_proxy_config_is_told_to_be_unused() {
    let config = "proxyMetadata:\n  ISTIO_META_DNS_CAPTURE: \"true\"\n  A: b\n";
    let warnings = shared(&[("PROXY_CONFIG", config)]).unwrap().warnings;
    assert!(warnings.len() == 1 && warnings[0].starts_with("PROXY_CONFIG"), "{warnings:?}");
    assert!(warnings[0].contains("A, ISTIO_META_DNS_CAPTURE"), "{warnings:?}");
    assert!(shared(&[("PROXY_CONFIG", "proxyMetadata: {}")]).unwrap().warnings.is_empty());
}

#[test]
fn an_empty_environment_says_all_that_is_missing() {
    let error = read_on(&machine(1, 1), &[("LOG_FORMAT", "xml")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the environment cannot be followed:\n  \
         XDS_ADDRESS: must name the xDS server, or LOCAL_XDS_PATH a file that describes the mesh\n  \
         RINGWAY_CA_DIR: must name an existing directory for the embedded CA, whose root is made on first start; or CA_ADDRESS an Istio-style \
         CA, or set SPIRE_ENABLED=true\n  \
         RINGWAY_PODS_PATH: must name a file that lists the pods, or INPOD_UDS the socket of a node agent, or set \
         PROXY_MODE=dedicated\n  \
         LOG_FORMAT=xml: must be plain or json"
    );
}

#[test]
fn what_has_no_effect_is_told() {
    for (name, value) in [("HTTP2_CONNECTION_WINDOW_SIZE", "16777216"), ("PACKET_MARK", "1338")] {
        let warnings = shared(&[(name, value)]).unwrap().warnings;
        assert!(warnings.len() == 1 && warnings[0].starts_with(name), "{name}: {warnings:?}");
    }
}

/// Cilium's chart knows the domain of the cluster, and SPIRE's trust domain is another thing.
#[test]
fn spire_without_a_trust_domain_is_told() {
    let with = |more: &[(&str, &str)]| {
        let spire = [("SPIRE_ENABLED", "true"), ("CLUSTER_DOMAIN", "east.local")];
        read_on(&machine(4, 4), &[&CILIUM[..], &spire, more].concat()).unwrap().warnings
    };
    let told = with(&[]);
    assert!(told.len() == 1 && told[0].starts_with("TRUST_DOMAIN"), "{told:?}");
    assert!(with(&[("TRUST_DOMAIN", "east.local")]).is_empty());
}
