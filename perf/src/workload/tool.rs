//! A load generator of others: a process at a place, what it says, and its end.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::sockets::Sockets;
use crate::interrupt::wait_until;
use crate::site::Place;

/// A server that does not listen by then never will.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(10);

/// How much of what a program said is repeated when it ended and should not have.
const LAST_LINES: usize = 5;

/// A running program; killed on drop.
#[derive(Debug)]
pub(super) struct Tool {
    program: &'static str,
    place: Place,
    child: Child,
    /// What it says is read all the time, so that it never waits for us.
    says: Option<JoinHandle<String>>,
    complains: Option<JoinHandle<String>>,
}

/// How a program ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) is_success: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Tool {
    /// Runs `program` with arguments that contain no blanks, given in one line.
    pub(super) fn start(place: &Place, program: &'static str, arguments: &str) -> Result<Self> {
        Self::spawn(place, program, place.command(program).args(arguments.split_whitespace()))
    }

    /// The same for a server, and returns when it listens on TCP port `port`, on which nobody may have listened before.
    pub(super) fn serve(place: &Place, program: &'static str, arguments: &str, port: u16) -> Result<Self> {
        let is_busy = Sockets::look(place)?.listens(port);
        ensure!(
            !is_busy,
            "port {port} of {} is busy: end what listens there before {program} can",
            place.name()
        );
        let mut server = match place {
            Place::Netns(_) => Self::start(place, program, arguments)?,
            // What starts it elsewhere (kubectl) ends without ending it.
            Place::Exec(_) => {
                Self::spawn(place, program, place.command("sh").args(["-c", &watched(program, arguments)]))?
            }
        };
        wait_until(&format!("{program} to listen on port {port}"), LISTEN_TIMEOUT, || {
            server.expect_running()?;
            Ok(Sockets::look(place)?.listens(port).then_some(()))
        })?;
        Ok(server)
    }

    fn spawn(place: &Place, program: &'static str, command: &mut Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = place.spawn(command)?;
        let says = child.stdout.take().map(read_all);
        let complains = child.stderr.take().map(read_all);
        Ok(Self { program, place: place.clone(), child, says, complains })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error with its last words when it has ended.
    pub(super) fn expect_running(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let (said, complained) = (join(self.says.take()), join(self.complains.take()));
        bail!("{} in {} ended: {status}\n{}{complained}", self.program, self.place.name(), last_lines(&said))
    }

    /// Waits for its end; an error when it takes longer than `deadline`.
    pub(super) fn finish(mut self, deadline: Duration) -> Result<Ended> {
        let what = format!("the end of {} in {}", self.program, self.place.name());
        let status = wait_until(&what, deadline, || self.child.try_wait().context("waiting"))?;
        let (stdout, stderr) = (join(self.says.take()), join(self.complains.take()));
        Ok(Ended { is_success: status.success(), stdout, stderr })
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shell's command that runs a program until that ends or the shell's input does.
fn watched(program: &str, arguments: &str) -> String {
    format!(
        "exec 3<&0; {program} {arguments} & program=$!; \
         (cat <&3; kill $program) > /dev/null 2>&1 & wait $program"
    )
}

fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is worth having.
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// What is worth repeating of a program that ended: iperf3 says all of its JSON, with its error in the end.
fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].iter().map(|line| format!("{line}\n")).collect()
}

fn join(reader: Option<JoinHandle<String>>) -> String {
    reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Nobody listens there.
    const UNUSED_PORT: u16 = 1;

    /// Words that change nothing, so that programs run here.
    fn here() -> Place {
        Place::Exec(vec!["env".to_owned()])
    }

    #[test]
    fn the_end_of_a_program_is_told_with_what_it_said() {
        let ended = Tool::start(&here(), "echo", "a b").unwrap().finish(LISTEN_TIMEOUT).unwrap();
        assert_eq!((ended.is_success, ended.stdout.as_str()), (true, "a b\n"));
        let ended = Tool::start(&here(), "ls", "/nonexistent").unwrap().finish(LISTEN_TIMEOUT).unwrap();
        assert!(!ended.is_success && ended.stderr.contains("/nonexistent"), "{ended:?}");
    }

    #[test]
    fn a_program_that_hangs_or_dies_is_an_error() {
        let hung = Tool::start(&here(), "sleep", "1000").unwrap();
        let error = hung.finish(Duration::ZERO).unwrap_err();
        assert!(format!("{error:#}").contains("the end of sleep"), "{error:#}");
        let error = Tool::serve(&here(), "ls", "/nonexistent", UNUSED_PORT).unwrap_err();
        assert!(format!("{error:#}").contains("cannot access '/nonexistent'"), "{error:#}");
    }

    #[test]
    fn of_much_that_was_said_the_end_is_repeated() {
        assert_eq!(last_lines("1\n2\n3\n4\n5\n6\n"), "2\n3\n4\n5\n6\n");
        assert_eq!((last_lines("one").as_str(), last_lines("").as_str()), ("one\n", ""));
    }

    #[test]
    fn a_server_elsewhere_ends_with_its_tool() {
        let mut command = Command::new("sh");
        command.args(["-c", &watched("sleep", "1000")]);
        let mut tool = Tool::spawn(&here(), "sleep", &mut command).unwrap();
        drop(tool.child.stdin.take());
        assert!(!tool.finish(LISTEN_TIMEOUT).unwrap().is_success);
    }

    #[test]
    fn a_busy_port_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = Tool::serve(&here(), "sleep", "1000", port).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("busy"), "{error}");
    }
}
