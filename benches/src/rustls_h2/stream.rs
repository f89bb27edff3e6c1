//! A rustls connection as a stream of tokio's, as tokio-rustls does it.

use std::cell::RefCell;
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::SharedWire;
use crate::SetupError;
use crate::authority::{Authority, SERVER_NAME};
use crate::wire::Wire;

/// Both wires from one end's view.
struct Pipe {
    incoming: SharedWire,
    outgoing: SharedWire,
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        or_would_block(self.incoming.borrow_mut().read(into))
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_would_block(self.outgoing.borrow_mut().write(bytes))
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut wire = self.outgoing.borrow_mut();
        let mut count = 0;
        for piece in pieces {
            let written = wire.write(piece);
            count += written;
            if written < piece.len() {
                break;
            }
        }
        or_would_block(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn or_would_block(count: usize) -> io::Result<usize> {
    if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
}

pub(super) struct TlsStream {
    connection: Connection,
    pipe: Pipe,
}

impl TlsStream {
    /// Puts what is sealed on the wire; false when that is full.
    fn send_sealed(&mut self) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut self.pipe) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                written => written?,
            };
        }
        Ok(true)
    }

    /// Seals what `write` gives to rustls, once what was sealed before is on the wire.
    fn seal(&mut self, write: impl FnOnce(&mut Connection) -> io::Result<usize>) -> Poll<io::Result<usize>> {
        if !self.send_sealed()? {
            return Poll::Pending;
        }
        let taken = write(&mut self.connection)?;
        self.send_sealed()?;
        Poll::Ready(Ok(taken))
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { connection, pipe } = &mut *self;
        loop {
            let mut reader = connection.reader();
            match reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                plain => {
                    let plain = plain?;
                    let count = plain.len().min(into.remaining());
                    into.put_slice(&plain[..count]);
                    reader.consume(count);
                    return Poll::Ready(Ok(()));
                }
            }
            match connection.read_tls(pipe) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                read => read?,
            };
            connection.process_new_packets().map_err(io::Error::other)?;
        }
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.seal(|connection| connection.writer().write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.seal(|connection| connection.writer().write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.send_sealed()? { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

/// Two connected ends, client and server, after their handshake.
pub(super) fn handshake() -> Result<(TlsStream, TlsStream), SetupError> {
    let authority = Authority::new()?;
    let (to_server, to_client) = (Rc::new(RefCell::new(Wire::new())), Rc::new(RefCell::new(Wire::new())));
    let mut client = TlsStream {
        connection: client(&authority)?.into(),
        pipe: Pipe { incoming: Rc::clone(&to_client), outgoing: Rc::clone(&to_server) },
    };
    let mut server = TlsStream {
        connection: server(&authority)?.into(),
        pipe: Pipe { incoming: to_server, outgoing: to_client },
    };
    while client.connection.is_handshaking() || server.connection.is_handshaking() {
        for end in [&mut client, &mut server] {
            end.send_sealed()?;
            if end.connection.read_tls(&mut end.pipe).is_ok() {
                end.connection.process_new_packets()?;
            }
        }
    }
    Ok((client, server))
}

fn client(authority: &Authority) -> Result<ClientConnection, SetupError> {
    let mut roots = RootCertStore::empty();
    roots.add(authority.root.clone())?;
    let (chain, key) = authority.leaf("client")?;
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let config = config.with_root_certificates(roots).with_client_auth_cert(chain, key)?;
    Ok(ClientConnection::new(Arc::new(config), SERVER_NAME.try_into()?)?)
}

fn server(authority: &Authority) -> Result<ServerConnection, SetupError> {
    let (chain, key) = authority.leaf("server")?;
    let config = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])?;
    let mut config = config.with_no_client_auth().with_single_cert(chain, key)?;
    config.send_tls13_tickets = 0;
    Ok(ServerConnection::new(Arc::new(config))?)
}

/// The suite that every layer uses.
fn provider() -> Arc<CryptoProvider> {
    let cipher_suites = vec![aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    Arc::new(CryptoProvider { cipher_suites, ..aws_lc_rs::default_provider() })
}
