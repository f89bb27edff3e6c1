//! The plain copy: tokio's, as many of the peers have it in their middle.

use std::io;
use std::net::SocketAddrV4;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional_with_sizes};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Builder;

use super::{
    DESTINATION_LEN, Side, TUNNEL_PORT, destination_from_bytes, destination_to_bytes, original_destination,
    reset_on_close,
};

/// Connections that wait to be accepted, as the kernel's own limit has it since 5.4.
const BACKLOG: u32 = 4096;

pub(super) fn run(side: Side, threads: usize, buffer_len: usize) -> Result<()> {
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    // On a worker: the thread that blocks here would be one more than were asked for.
    runtime.block_on(async { tokio::spawn(accept(side, buffer_len)).await? })
}

async fn accept(side: Side, buffer_len: usize) -> Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(side.address().into()).with_context(|| format!("port {}", side.port()))?;
    let listener = socket.listen(BACKLOG)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(side, stream, buffer_len))),
            // One that was gone before it was accepted is no reason to end.
            Err(error) => eprintln!("accepting: {error}"),
        }
    }
}

async fn serve(side: Side, mut near: TcpStream, buffer_len: usize) {
    let far = match side {
        Side::Client => enter_tunnel(&near).await,
        Side::Server => leave_tunnel(&mut near).await,
    };
    let mut far = match far {
        Ok(far) => far,
        Err(error) => {
            eprintln!("{error:#}");
            reset_on_close(&near);
            return;
        }
    };
    if copy_bidirectional_with_sizes(&mut near, &mut far, buffer_len, buffer_len).await.is_err() {
        reset_on_close(&near);
        reset_on_close(&far);
    }
}

/// To the pod where a redirected connection was meant to go, which is told the rest.
async fn enter_tunnel(near: &TcpStream) -> Result<TcpStream> {
    near.set_nodelay(true)?;
    let destination = original_destination(near)?;
    let mut far = connect(SocketAddrV4::new(*destination.ip(), TUNNEL_PORT)).await?;
    far.write_all(&destination_to_bytes(destination)).await?;
    Ok(far)
}

/// To the application of this pod that a tunnel names first.
async fn leave_tunnel(near: &mut TcpStream) -> Result<TcpStream> {
    near.set_nodelay(true)?;
    let mut destination = [0; DESTINATION_LEN];
    near.read_exact(&mut destination).await.context("a tunnel ended before it said where to")?;
    connect(destination_from_bytes(destination)).await
}

async fn connect(to: SocketAddrV4) -> Result<TcpStream> {
    let connected: io::Result<TcpStream> = TcpStream::connect(to).await;
    let stream = connected.with_context(|| format!("connecting to {to}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream as Blocking};
    use std::thread;

    use super::super::tests::{connected, expect_reset};
    use super::*;

    /// A client's end of a tunnel to a servers' side, and the application it leads to.
    fn through_servers_side() -> (Blocking, Blocking) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let std::net::SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("not IPv4") };
        let (mut tunnel, near) = connected();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            near.set_nonblocking(true).unwrap();
            runtime.block_on(async { serve(Side::Server, TcpStream::from_std(near).unwrap(), 4096).await });
        });
        tunnel.write_all(&destination_to_bytes(address)).unwrap();
        (tunnel, listener.accept().unwrap().0)
    }

    #[test]
    fn bytes_and_their_end_are_carried_both_ways() {
        let (mut tunnel, mut app) = through_servers_side();
        tunnel.write_all(b"question").unwrap();
        tunnel.shutdown(Shutdown::Write).unwrap();
        let mut received = String::new();
        app.read_to_string(&mut received).unwrap();
        assert_eq!(received, "question");
        app.write_all(b"answer").unwrap();
        drop(app);
        received.clear();
        tunnel.read_to_string(&mut received).unwrap();
        assert_eq!(received, "answer");
    }

    #[test]
    fn a_reset_is_carried_either_way() {
        for tunnel_resets in [true, false] {
            let (tunnel, app) = through_servers_side();
            let (resets, other) = if tunnel_resets { (tunnel, app) } else { (app, tunnel) };
            reset_on_close(&resets);
            drop(resets);
            expect_reset(other);
        }
    }
}
