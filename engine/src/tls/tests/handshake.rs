//! Handshakes that work, and those that fail for other reasons than a certificate.

use std::io::Write;

use rustls::crypto::aws_lc_rs::kx_group;
use rustls::server::Acceptor;
use rustls::{AlertDescription, CipherSuite, Connection, HandshakeKind};

use super::link::{Cut, Dice, Link, Peer, ROLES, Role, SUITES, give, pair, start, take};
use super::pki::Pki;
use crate::tls::limits::HANDSHAKE_RECEIVED_MAX_BYTES;
use crate::tls::{Alert, Fault, Progress, RecordError, Suite, Suites, TlsError};

#[test]
fn completes_in_both_roles_with_both_suites_however_the_bytes_are_cut() {
    let pki = Pki::new("cluster.local");
    for role in ROLES {
        for suite in SUITES {
            for mut cut in [Cut::Whole, Cut::Every(1), Cut::Every(7), Cut::Random(Dice(0x5eed))] {
                let peer = Peer::new(&pki).suite(suite).start(role, &pki.root);
                let credentials = pki.credentials("us");
                let mut link = Link::connect(role, &credentials, peer, &mut cut).unwrap();
                assert_eq!(link.ours.peer, pki.identity("peer"));
                assert_eq!(link.ours.suite, suite);
                assert!(!link.peer.is_handshaking());
                assert_eq!(link.carry(b"from us"), b"from us", "{role:?} {suite} {cut:?}");
                link.peer_writes(b"from the peer");
                assert_eq!(link.receive().unwrap().data, b"from the peer", "{role:?} {suite} {cut:?}");
            }
        }
    }
}

#[test]
fn two_of_ours_agree_on_aes_128() {
    let (client, server) = pair();
    assert_eq!((client.suite, server.suite), (Suite::Aes128Gcm, Suite::Aes128Gcm));
    assert_eq!(client.peer.to_string(), "spiffe://cluster.local/ns/shop/sa/server");
    assert_eq!(server.peer.to_string(), "spiffe://cluster.local/ns/shop/sa/client");
}

/// A client's own order does not count (ztunnel lists AES-256 first); a server takes the first of ours that it has.
#[test]
fn in_both_roles_the_suite_that_we_prefer_is_taken() {
    let pki = Pki::new("cluster.local");
    let [aes128, aes256] = SUITES;
    for role in ROLES {
        for [preferred, second] in [[aes128, aes256], [aes256, aes128]] {
            let mut peer = Peer::new(&pki);
            // A rustls server's own order would count.
            peer.suites =
                if role == Role::Server { vec![second, preferred] } else { vec![preferred, second] };
            let suites = Suites { preferred, second: Some(second) };
            let us = pki.leaf("us").preferring(suites, &pki.bundle());
            let link = Link::connect(role, &us, peer.start(role, &pki.root), &mut Cut::Whole).unwrap();
            assert_eq!(link.ours.suite, preferred, "{role:?}");
        }
    }
}

#[test]
fn a_peer_that_does_not_speak_the_only_suite_is_refused() {
    let pki = Pki::new("cluster.local");
    for role in ROLES {
        let suites = Suites { preferred: Suite::Aes256Gcm, second: None };
        let us = pki.leaf("us").preferring(suites, &pki.bundle());
        let connect = |suite| {
            let peer = Peer::new(&pki).suite(suite).start(role, &pki.root);
            Link::connect(role, &us, peer, &mut Cut::Whole)
        };
        assert_eq!(connect(Suite::Aes256Gcm).unwrap().ours.suite, Suite::Aes256Gcm, "{role:?}");
        assert!(connect(Suite::Aes128Gcm).is_err(), "{role:?}");
    }
}

/// A server that knows P-256 only asks our client to try again; a client with a post-quantum group has a second choice.
#[test]
fn other_groups_are_agreed_on() {
    let pki = Pki::new("cluster.local");
    for role in ROLES {
        for groups in [vec![kx_group::SECP256R1], vec![kx_group::X25519MLKEM768, kx_group::X25519]] {
            let agreed = groups.last().unwrap().name();
            for mut cut in [Cut::Whole, Cut::Every(1)] {
                let mut peer = Peer::new(&pki);
                peer.groups.clone_from(&groups);
                let peer = peer.start(role, &pki.root);
                let mut link = Link::connect(role, &pki.credentials("us"), peer, &mut cut).unwrap();
                assert_eq!(link.peer.negotiated_key_exchange_group().unwrap().name(), agreed);
                assert_eq!(link.carry(b"agreed"), b"agreed");
            }
        }
    }
}

/// rustls remembers places in its input: whatever a peer sends, we must feed it so that it never loses them.
#[test]
fn a_changed_byte_in_the_handshake_is_an_error_and_no_panic() {
    let pki = Pki::new("cluster.local");
    let credentials = pki.credentials("us");
    let mut dice = Dice(0xbad);
    for role in ROLES {
        for _ in 0..150 {
            let mut peer = Peer::new(&pki).start(role, &pki.root);
            let mut handshake = start(role, &credentials);
            let mut out = Vec::new();
            handshake.advance(&[], &mut out).unwrap();
            give(&mut peer, &out).unwrap();
            let mut flight = take(&mut peer);
            let at = dice.below(flight.len());
            flight[at] ^= 1 << dice.below(8);
            let mut cut = Cut::Random(dice.clone());
            let mut rest = &flight[..];
            while !rest.is_empty() {
                match handshake.advance(cut.take(&mut rest), &mut out) {
                    Ok(Progress::More) => {}
                    // A version or a session id that nobody looks at.
                    Ok(Progress::Done(_)) => break,
                    Err(error) => {
                        assert!(!error.to_string().is_empty());
                        break;
                    }
                }
            }
        }
    }
}

#[test]
fn an_intermediate_authority_is_followed_to_the_root() {
    let pki = Pki::new("cluster.local");
    for role in ROLES {
        let peer = Peer::with_leaf(pki.leaf_of_intermediate("peer")).start(role, &pki.root);
        let credentials = pki.leaf_of_intermediate("us").credentials(&pki.bundle());
        let link = Link::connect(role, &credentials, peer, &mut Cut::Whole).unwrap();
        assert_eq!(link.ours.peer, pki.identity("peer"));
    }
}

#[test]
fn our_client_hello_offers_what_the_field_expects() {
    let pki = Pki::new("cluster.local");
    let mut hello = Vec::new();
    start(Role::Client, &pki.credentials("us")).advance(&[], &mut hello).unwrap();
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &hello[..]).unwrap();
    let accepted = acceptor.accept().unwrap().unwrap();
    let hello = accepted.client_hello();
    assert_eq!(hello.server_name(), None);
    assert_eq!(hello.alpn().unwrap().collect::<Vec<_>>(), [b"h2"]);
    let suites = hello.cipher_suites();
    let ours = [CipherSuite::TLS13_AES_128_GCM_SHA256, CipherSuite::TLS13_AES_256_GCM_SHA384];
    assert_eq!(suites[..2], ours);
    assert!(suites[2..].iter().all(|suite| *suite == CipherSuite::TLS_EMPTY_RENEGOTIATION_INFO_SCSV));
    let groups = [rustls::NamedGroup::X25519, rustls::NamedGroup::secp256r1];
    assert_eq!(hello.named_groups(), Some(&groups[..]));
}

/// Design: the peer's first frames share segments with the end of its handshake.
#[test]
fn data_in_the_segment_that_ends_the_handshake_stays_sealed_for_us() {
    let pki = Pki::new("cluster.local");
    for role in ROLES {
        for mut cut in [Cut::Whole, Cut::Every(1), Cut::Random(Dice(7))] {
            let mut peer = Peer::new(&pki);
            peer.half_rtt = true;
            let mut peer = peer.start(role, &pki.root);
            peer.writer().write_all(&[b'x'; 40_000]).unwrap(); // goes out with the last flight
            let mut link = Link::connect(role, &pki.credentials("us"), peer, &mut cut).unwrap();
            assert!(!link.ours.leftover.is_empty(), "{role:?}");
            assert_eq!(link.receive().unwrap().data, [b'x'; 40_000]);
            assert_eq!(link.carry(b"answer"), b"answer");
        }
    }
}

#[test]
fn nothing_is_resumed_and_no_ticket_is_sent() {
    let pki = Pki::new("cluster.local");
    for role in ROLES {
        let credentials = pki.credentials("us");
        for _ in 0..2 {
            let mut peer = Peer::new(&pki);
            peer.tickets = 2;
            let link =
                Link::connect(role, &credentials, peer.start(role, &pki.root), &mut Cut::Whole).unwrap();
            assert_eq!(link.peer.handshake_kind(), Some(HandshakeKind::Full));
            if let Connection::Client(client) = &link.peer {
                assert_eq!(client.tls13_tickets_received(), 0);
            }
        }
    }
}

#[test]
fn tickets_of_a_server_are_ignored() {
    let pki = Pki::new("cluster.local");
    for mut cut in [Cut::Whole, Cut::Every(1)] {
        let mut peer = Peer::new(&pki);
        peer.tickets = 4;
        let peer = peer.start(Role::Client, &pki.root);
        let mut link = Link::connect(Role::Client, &pki.credentials("us"), peer, &mut cut).unwrap();
        link.peer_writes(b"after the tickets");
        let received = link.receive().unwrap();
        assert!(received.nothing >= 1, "tickets came");
        assert_eq!(received.data, b"after the tickets");
    }
}

#[test]
fn a_peer_without_alpn_is_refused() {
    let pki = Pki::new("cluster.local");
    for role in ROLES {
        for alpn in [vec![], vec![b"http/1.1".to_vec()]] {
            let mut peer = Peer::new(&pki);
            peer.alpn = alpn.clone();
            let peer = peer.start(role, &pki.root);
            let refused = Link::connect(role, &pki.credentials("us"), peer, &mut Cut::Whole);
            let (error, verdict) = *refused.err().unwrap();
            match (role, alpn.is_empty()) {
                // A rustls server with other protocols refuses first.
                (Role::Client, false) => {
                    assert!(matches!(error, TlsError::Alert(Alert::NO_APPLICATION_PROTOCOL)), "{error}");
                }
                _ => {
                    assert!(matches!(error, TlsError::NoAlpn), "{error}");
                    let alert = AlertDescription::NoApplicationProtocol;
                    assert_eq!(verdict, Err(rustls::Error::AlertReceived(alert)), "{role:?}");
                }
            }
            assert!(error.to_string().contains("h2"), "{error}");
        }
    }
}

#[test]
fn what_is_not_tls_is_named_as_such() {
    let pki = Pki::new("cluster.local");
    for role in ROLES {
        for (bytes, shown) in [
            (&b"GET / HTTP/1.1\r\nHost: cart\r\n\r\n"[..], "`GET / HTTP/1.1\\r\\n`"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "`PRI * HTTP/2.0"),
            (b"\x00", "`\\0`"),
            (b"\x16\x04\x01\x00\x00", "`\\u{16}"),
            (b"\xff\xfe\xfd", "`\u{fffd}"),
        ] {
            let mut handshake = start(role, &pki.credentials("us"));
            let mut out = Vec::new();
            handshake.advance(&[], &mut out).unwrap();
            out.clear();
            let error = handshake.advance(bytes, &mut out).err().unwrap();
            assert!(matches!(error, TlsError::NotTls { .. }), "{error}");
            assert_eq!(error.fault(), Fault::Peer);
            assert!(error.to_string().contains(shown), "{error}");
            assert!(out.is_empty(), "an alert means nothing to a peer that speaks no TLS");
        }
    }
}

#[test]
fn a_peer_that_never_comes_to_an_end_is_cut_off() {
    let pki = Pki::new("cluster.local");
    let mut handshake = start(Role::Server, &pki.credentials("us"));
    // A ClientHello that claims to be as long as a message can be, in records of one byte.
    let message = [&[1, 0, 0xff, 0xff][..], &[0; 0xffff]].concat();
    let mut sent = 0;
    let error = loop {
        let record = [22, 3, 1, 0, 1, message[sent]];
        sent += 1;
        match handshake.advance(&record, &mut Vec::new()) {
            Ok(progress) => assert!(matches!(progress, Progress::More)),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, TlsError::TooLong { .. }), "{error}");
    assert_eq!(sent, HANDSHAKE_RECEIVED_MAX_BYTES / 6 + 1);
}

#[test]
fn a_record_too_long_for_tls_is_refused_by_its_header() {
    let pki = Pki::new("cluster.local");
    let mut handshake = start(Role::Server, &pki.credentials("us"));
    let error = handshake.advance(&[22, 3, 1, 0x41, 0x01], &mut Vec::new()).err().unwrap();
    assert!(matches!(error, TlsError::TooLong { .. }), "{error}");
}

#[test]
fn a_handshake_that_is_over_takes_nothing_more() {
    let pki = Pki::new("cluster.local");
    let mut handshake = start(Role::Server, &pki.credentials("us"));
    handshake.advance(b"GET /", &mut Vec::new()).err().unwrap();
    let error = handshake.advance(b"", &mut Vec::new()).err().unwrap();
    assert_eq!(error.fault(), Fault::Ours);
}

#[test]
fn a_peer_that_breaks_off_is_quoted() {
    let pki = Pki::new("cluster.local");
    // The peer holds another root than ours: as a server it finds out after our client is done, as RFC 8446 has it.
    let stranger = Pki::new("cluster.local");
    let peer = Peer::new(&pki).start(Role::Client, &stranger.root);
    let mut handshake = start(Role::Client, &pki.credentials("us"));
    let mut peer = peer;
    let mut out = Vec::new();
    handshake.advance(&[], &mut out).unwrap();
    give(&mut peer, &out).unwrap();
    out.clear();
    let Ok(Progress::Done(mut ours)) = handshake.advance(&take(&mut peer), &mut out) else {
        panic!("the client has heard all it needs")
    };
    give(&mut peer, &out).unwrap_err();
    let mut alert = take(&mut peer);
    let error = ours.opener.open(&mut alert).unwrap_err();
    assert!(matches!(error, RecordError::Alert(_)), "{error}");
    assert_eq!(error.alert(), None);

    // In the middle of the handshake: a TLS 1.3 client that finds no common suite, say.
    let mut handshake = start(Role::Client, &pki.credentials("us"));
    handshake.advance(&[], &mut Vec::new()).unwrap();
    let error = handshake.advance(&[21, 3, 3, 0, 2, 2, 70], &mut Vec::new()).err().unwrap();
    assert!(matches!(error, TlsError::Alert(Alert::PROTOCOL_VERSION)), "{error}");
}

#[test]
fn no_common_suite_is_said_so() {
    let pki = Pki::new("cluster.local");
    let provider = rustls::crypto::CryptoProvider {
        cipher_suites: vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
        ..rustls::crypto::aws_lc_rs::default_provider()
    };
    let config = rustls::ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let peer = rustls::ClientConnection::new(config.into(), "peer.test".try_into().unwrap()).unwrap();
    let refused = Link::connect(Role::Server, &pki.credentials("us"), peer.into(), &mut Cut::Whole);
    let (error, verdict) = *refused.err().unwrap();
    assert!(matches!(error, TlsError::Incompatible(_)), "{error}");
    assert!(error.to_string().contains("TLS 1.3 with AES-GCM"), "{error}");
    let alert = AlertDescription::HandshakeFailure;
    assert_eq!(verdict, Err(rustls::Error::AlertReceived(alert)));
}
