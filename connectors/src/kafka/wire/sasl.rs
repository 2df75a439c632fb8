//! Logging in (`SaslHandshake`, `SaslAuthenticate`): PLAIN and SCRAM.

use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;

use super::code;
use super::connection::{Connection, Failure};
use super::input::{Input, Malformed};
use super::scram::Exchange;
use super::settings::{Mechanism, SaslSettings};
use super::versions::Api;

/// Logs in, and returns for how long the broker lets us stay, if it says.
pub(super) fn log_in(connection: &mut Connection, settings: &SaslSettings) -> Result<Option<Duration>, Failure> {
    let name = settings.mechanism.name();
    let write = |output: &mut super::output::Output, _| output.string(name);
    let (error, offered) = connection.ask(Api::SaslHandshake, i16::MAX, write, read_handshake)?;
    if let Some(error) = error {
        let problem = format!("the broker does not offer {name} but {}", offered.join(", "));
        return Err(refused(error, &problem));
    }
    let (user, password) = (&settings.user, &settings.password);
    match settings.mechanism {
        Mechanism::Plain => {
            let token = format!("\0{user}\0{password}");
            Ok(authenticate(connection, token.as_bytes())?.1)
        }
        Mechanism::Scram(hash) => {
            let failed = |problem: String| refused(Code::Authentication, &problem);
            let mut exchange = Exchange::new(hash, user, password).map_err(failed)?;
            let (answer, _) = authenticate(connection, exchange.first().as_bytes())?;
            let last = exchange.last(&answer).map_err(failed)?;
            let (answer, lifetime) = authenticate(connection, last.as_bytes())?;
            exchange.finish(&answer).map_err(failed)?;
            Ok(lifetime)
        }
    }
}

fn refused(code: Code, problem: &str) -> Failure {
    Failure::Refused(code, format!("SASL authentication error: {problem}"))
}

fn read_handshake(input: &mut Input<'_>, _: i16) -> Result<(Option<Code>, Vec<String>), Malformed> {
    let error = code(input.i16()?);
    let offered = (0..input.count(2)?).map(|_| input.string().map(str::to_owned));
    Ok((error, offered.collect::<Result<_, _>>()?))
}

struct Answer {
    error: Option<Code>,
    problem: String,
    token: Vec<u8>,
    lifetime_ms: i64,
}

impl Answer {
    fn read(input: &mut Input<'_>, version: i16) -> Result<Self, Malformed> {
        Ok(Self {
            error: code(input.i16()?),
            problem: input.nullable_string()?.unwrap_or_default().to_owned(),
            token: input.nullable_bytes()?.unwrap_or_default().to_vec(),
            lifetime_ms: if version >= 1 { input.i64()? } else { 0 },
        })
    }
}

/// Sends a token, and returns the broker's and for how long the login lasts.
fn authenticate(connection: &mut Connection, token: &[u8]) -> Result<(String, Option<Duration>), Failure> {
    let write = |output: &mut super::output::Output, _| {
        output.bytes(token);
        output.tags();
    };
    let answer = connection.ask(Api::SaslAuthenticate, i16::MAX, write, Answer::read)?;
    if let Some(error) = answer.error {
        return Err(refused(error, &answer.problem));
    }
    let text = String::from_utf8(answer.token);
    let text = text.map_err(|_| refused(Code::Authentication, "the broker's message is not UTF-8"))?;
    let lifetime = u64::try_from(answer.lifetime_ms).ok().filter(|&lifetime| lifetime > 0);
    Ok((text, lifetime.map(Duration::from_millis)))
}
