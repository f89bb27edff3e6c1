//! The h2 crate as the client of our server session.

use bytes::Bytes;
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, StatusCode};
use tokio::task::JoinSet;

use super::super::*;
use super::peers::{Application, HELLO, Purpose, Server, run};
use super::random::{Random, content_bytes_max};

type Sender = SendRequest<Bytes>;

fn request(purpose: Purpose) -> Request<()> {
    Request::builder()
        .method(Method::CONNECT)
        .uri(purpose.authority())
        .header("baggage", "k8s.cluster.name=one")
        .header("forwarded", "for=\"10.1.2.3:4567\"")
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
        .body(())
        .unwrap()
}

/// Runs `client` against our session with any application.
async fn serve<F>(
    settings: Settings,
    application: &mut impl Application,
    builder: Builder,
    random: &mut Random,
    client: impl FnOnce(Sender) -> F,
) where
    F: Future<Output = ()> + 'static,
{
    let (ours, theirs) = tokio::io::duplex(1 + random.length(100_000));
    let mut out = Vec::new();
    let session = Session::server(&settings, &mut out);
    let schedule = Random::new(random.next());
    let h2 = async {
        let (sender, connection) = builder.handshake::<_, Bytes>(theirs).await.unwrap();
        let connection = tokio::task::spawn_local(connection);
        tokio::task::spawn_local(client(sender)).await.unwrap();
        connection.await.unwrap().unwrap();
    };
    tokio::join!(run(session, out, application, ours, schedule, |_, _| false), h2);
}

/// Runs `client` against [`Server`]; what its greeted streams received.
async fn against_our_server<F>(
    settings: Settings,
    builder: Builder,
    random: &mut Random,
    client: impl FnOnce(Sender) -> F,
) -> Vec<Vec<u8>>
where
    F: Future<Output = ()> + 'static,
{
    let mut server = Server::new(random);
    serve(settings, &mut server, builder, random, client).await;
    server.kept
}

/// Refuses everything.
struct Refuser;

/// Takes everything on all streams but those it greets, whose bytes it holds for ever.
#[derive(Default)]
struct Standing {
    healthy: usize,
}

impl Application for Refuser {
    fn event(&mut self, event: Event<'_>, session: &mut Session, out: &mut Vec<u8>) {
        if let Event::Request { stream, request, .. } = event {
            assert_eq!(request.baggage.as_deref(), Some("k8s.cluster.name=one"));
            assert!(request.traceparent.is_some_and(|parent| parent.len() == 55));
            session.respond(stream, 503, &[], true, out);
        }
    }

    fn turn(&mut self, _: &mut Session, _: &mut Vec<u8>) -> bool {
        false
    }
}

impl Application for Standing {
    fn event(&mut self, event: Event<'_>, session: &mut Session, out: &mut Vec<u8>) {
        match event {
            Event::Request { stream, request, .. } => {
                session.respond(stream, 200, &[], false, out);
                session.set_slot(stream, Purpose::of(&request.authority) as u32);
            }
            Event::Data { stream, slot, bytes } if slot == Purpose::Echo as u32 => {
                self.healthy += bytes.len();
                session.release(stream, bytes.len(), out);
            }
            Event::End { stream, .. } => session.end(stream, out),
            _ => {}
        }
    }

    fn turn(&mut self, _: &mut Session, _: &mut Vec<u8>) -> bool {
        false
    }
}

fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, future);
}

/// Waits until some of `wanted` can be sent. `None`: the stream is over.
pub(super) async fn capacity(
    stream: &mut SendStream<Bytes>,
    wanted: usize,
) -> Result<Option<usize>, h2::Error> {
    stream.reserve_capacity(wanted);
    // `poll_capacity` waits for more, whatever is there already.
    match stream.capacity() {
        0 => std::future::poll_fn(|context| stream.poll_capacity(context)).await.transpose(),
        some => Ok(Some(some)),
    }
}

/// Sends everything as the windows allow, in chunks of any size.
async fn send(mut stream: SendStream<Bytes>, content: Bytes, mut random: Random) -> Result<(), h2::Error> {
    let mut rest = content;
    while !rest.is_empty() {
        let wanted = rest.len().min(random.length(50_000));
        let Some(capacity) = capacity(&mut stream, wanted).await? else { return Ok(()) };
        let piece = rest.split_to(capacity.min(wanted));
        stream.send_data(piece, false)?;
    }
    stream.send_data(Bytes::new(), true)
}

/// Receives to the end, giving credit back late.
async fn receive(body: &mut RecvStream, random: &mut Random) -> (Vec<u8>, Result<(), h2::Error>) {
    let mut received = Vec::new();
    let mut held = 0;
    while let Some(data) = body.data().await {
        let bytes = match data {
            Ok(bytes) => bytes,
            Err(error) => return (received, Err(error)),
        };
        received.extend_from_slice(&bytes);
        held += bytes.len();
        // Not all of it, or a window that is smaller than what is held stands for ever.
        let some = if random.one_in(3) { random.below(held + 1) } else { held };
        body.flow_control().release_capacity(some).unwrap();
        held -= some;
        if random.one_in(10) {
            tokio::task::yield_now().await;
        }
        body.flow_control().release_capacity(held).unwrap();
        held = 0;
    }
    (received, Ok(()))
}

async fn tunnel(
    purpose: Purpose,
    response: ResponseFuture,
    stream: SendStream<Bytes>,
    content: Bytes,
    mut random: Random,
) {
    let response = response.await.unwrap();
    if purpose == Purpose::Refuse {
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(response.into_body().is_end_stream());
        return;
    }
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["baggage"], "k8s.namespace.name=shop");
    let mut body = response.into_body();
    if purpose == Purpose::Abandon {
        let mut stream = stream;
        stream.send_reset(Reason::CANCEL);
        return;
    }
    let schedule = Random::new(random.next());
    let (sent, (received, finish)) =
        tokio::join!(send(stream, content.clone(), schedule), receive(&mut body, &mut random));
    match purpose {
        Purpose::Echo => assert!(finish.is_ok() && received == content, "an echo differs"),
        Purpose::Greet => assert!(finish.is_ok() && received == HELLO),
        _ => {
            assert_eq!(finish.unwrap_err().reason(), Some(Reason::CONNECT_ERROR));
            assert!(content.starts_with(&received));
            return;
        }
    }
    sent.unwrap();
}

fn any_builder(window: u32, random: &mut Random) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(window)
        .initial_connection_window_size(65_535 + random.length(1 << 20) as u32)
        .max_frame_size(16_384 + random.length(1 << 20) as u32)
        .header_table_size([0, 100, 4_096, 65_536][random.below(4)])
        .max_send_buffer_size(1 + random.length(400_000));
    builder
}

async fn converse(seed: u64) {
    let mut random = Random::new(seed);
    let settings = Settings { stream_window: random.window(), ..Settings::server() };
    let window = random.window();
    let builder = any_builder(window, &mut random);
    let mut plans: Vec<(Purpose, Bytes)> = Vec::new();
    for _ in 0..12 {
        let length = random.length(content_bytes_max(window, settings.stream_window));
        plans.push((Purpose::random(&mut random), random.bytes(length).into()));
    }
    let mut greeted: Vec<Bytes> = plans
        .iter()
        .filter(|(purpose, _)| *purpose == Purpose::Greet)
        .map(|(_, content)| content.clone())
        .collect();
    let mut schedule = Random::new(random.next());
    let mut kept = against_our_server(settings, builder, &mut random, |sender| async move {
        let mut tunnels = JoinSet::new();
        for (purpose, content) in plans {
            let mut sender = sender.clone().ready().await.unwrap();
            let (response, stream) = sender.send_request(request(purpose), false).unwrap();
            tunnels.spawn_local(tunnel(purpose, response, stream, content, Random::new(schedule.next())));
        }
        while let Some(ended) = tunnels.join_next().await {
            ended.unwrap();
        }
    })
    .await;
    greeted.sort_unstable();
    kept.sort_unstable();
    assert!(kept == greeted, "what greeted clients sent");
}

#[test]
fn conversations() {
    for seed in 0..40 {
        block_on(converse(seed));
    }
}

#[test]
fn the_dynamic_table_of_h2_is_understood() {
    // h2 refers to its table from the second request on, and evicts from the fortieth or so.
    block_on(async {
        let mut random = Random::new(5);
        let client = |sender: Sender| async move {
            for number in 0..300 {
                let mut sender = sender.clone().ready().await.unwrap();
                let mut request = request(Purpose::Refuse);
                let value = format!("00-{number:032x}-00f067aa0ba902b7-00");
                request.headers_mut().insert("traceparent", value.parse().unwrap());
                let (response, _stream) = sender.send_request(request, true).unwrap();
                assert_eq!(response.await.unwrap().status(), 503);
            }
        };
        let settings = Settings::server();
        serve(settings, &mut Refuser, Builder::new(), &mut random, client).await;
    });
}

#[test]
fn sixty_four_octets_at_a_time() {
    // h2 0.4.16 and later charge small DATA frames and close connections that send too many of them unread.
    block_on(async {
        let mut random = Random::new(6);
        against_our_server(Settings::server(), Builder::new(), &mut random, |sender| async move {
            let mut sender = sender.ready().await.unwrap();
            let (response, mut stream) = sender.send_request(request(Purpose::Echo), false).unwrap();
            let mut body = response.await.unwrap().into_body();
            for number in 0..2_000 {
                stream.send_data(vec![number as u8; 64].into(), false).unwrap();
                let mut received = 0;
                while received < 64 {
                    let bytes = body.data().await.unwrap().unwrap();
                    received += bytes.len();
                    body.flow_control().release_capacity(bytes.len()).unwrap();
                    assert!(bytes.iter().all(|octet| *octet == number as u8));
                }
                assert_eq!(received, 64);
            }
            stream.send_data(Bytes::new(), true).unwrap();
            let (rest, finish) = receive(&mut body, &mut Random::new(1)).await;
            assert!(finish.is_ok() && rest.is_empty());
        })
        .await;
    });
}

#[test]
fn many_streams_after_one_another_end_cleanly() {
    // h2 counts empty DATA frames too: those that end a stream are not meant.
    block_on(async {
        let mut random = Random::new(7);
        against_our_server(Settings::server(), Builder::new(), &mut random, |sender| async move {
            for _ in 0..500 {
                let mut sender = sender.clone().ready().await.unwrap();
                let (response, mut stream) = sender.send_request(request(Purpose::Echo), false).unwrap();
                stream.send_data(Bytes::from_static(b"short"), true).unwrap();
                let mut body = response.await.unwrap().into_body();
                let (received, finish) = receive(&mut body, &mut Random::new(1)).await;
                assert!(finish.is_ok() && received == b"short");
            }
        })
        .await;
    });
}

#[test]
fn readers_that_stand_hold_their_own_streams_only() {
    block_on(async {
        let mut random = Random::new(8);
        let settings = Settings { stream_window: 100_000, credit_batch: 25_000, ..Settings::server() };
        let mut standing = Standing::default();
        serve(settings, &mut standing, Builder::new(), &mut random, |sender| async move {
            let mut streams = Vec::new();
            for purpose in [Purpose::Greet; 20].into_iter().chain([Purpose::Echo]) {
                let mut sender = sender.clone().ready().await.unwrap();
                let (response, mut stream) = sender.send_request(request(purpose), false).unwrap();
                let mut body = response.await.unwrap().into_body();
                if purpose == Purpose::Greet {
                    // Exactly the window: h2 has sent it all when it has capacity for no more.
                    stream.send_data(vec![0; 100_000].into(), false).unwrap();
                    streams.push((stream, body));
                } else {
                    send(stream, vec![1; 300_000].into(), Random::new(1)).await.unwrap();
                    assert!(receive(&mut body, &mut Random::new(2)).await.1.is_ok());
                }
            }
            for (mut stream, _) in streams {
                stream.send_reset(Reason::CANCEL);
            }
        })
        .await;
        assert_eq!(standing.healthy, 300_000);
    });
}
