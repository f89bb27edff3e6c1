//! `GET /`: what there is to ask.

use axum::response::Html;

const ENDPOINTS: [(&str, &str); 9] = [
    ("config_dump", "workloads, services, policies and certificates as this proxy knows them, in JSON"),
    ("status", "how the proxy is and what is wrong, in JSON (<code>ringway status</code> prints it)"),
    ("explain", "what would become of a connection: <code>?source=..&amp;destination=..</code>"),
    ("flows", "the last connections, one JSON object a line; <code>?follow=true</code> goes on"),
    (
        "logging",
        "POST: the log filter; <code>?level=..</code> adds to it, <code>?reset</code> takes that back",
    ),
    ("quitquitquit", "POST: drain and end"),
    ("debug/pprof/profile", "CPU profile for pprof; <code>?seconds=10&amp;frequency=100</code>"),
    ("debug/pprof/heap", "heap profile (not in this build)"),
    (":15020/metrics", "metrics, on the stats port"),
];

pub(super) async fn page() -> Html<String> {
    let row = |(path, text): &(&str, &str)| match path.strip_prefix(':') {
        Some(elsewhere) => format!("<tr><td>{elsewhere}</td><td>{text}</td></tr>\n"),
        None => format!("<tr><td><a href=\"{path}\">{path}</a></td><td>{text}</td></tr>\n"),
    };
    let rows: String = ENDPOINTS.iter().map(row).collect();
    Html(format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><title>ringway</title></head><body>\n<h1>ringway {}</h1>\n\
         <table>\n{rows}</table>\n</body></html>\n",
        env!("CARGO_PKG_VERSION")
    ))
}
