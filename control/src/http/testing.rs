//! A router behind a real socket, for tests.
#![allow(clippy::unwrap_used)]

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

/// What comes back for these bytes, up to the end of the connection.
pub(crate) async fn send(router: &Router, reach: Reach, request: &[u8]) -> String {
    String::from_utf8(send_for_bytes(router, reach, request).await).unwrap()
}

/// The same, of an answer that is no text.
pub(crate) async fn send_for_bytes(router: &Router, reach: Reach, request: &[u8]) -> Vec<u8> {
    let listener = listener(Endpoint::Admin, "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A server that refuses a head closes with part of it unread: what it said came before the RST.
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    tokio::select! {
        answer = client => answer,
        never = serve(listener, reach, router.clone()) => match never {},
    }
}

/// Status and body of the answer to one request. `HTTP/1.0`, so that the body comes as it is and the connection ends.
pub(crate) async fn ask(router: &Router, method: &str, target: &str) -> (u16, String) {
    let request = format!("{method} {target} HTTP/1.0\r\nhost: x\r\n\r\n");
    let answer = send(router, Reach::Loopback, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
