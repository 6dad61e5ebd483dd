//! How a run ended, in Korean. English messages have the engine's own words, as its rows do.

use std::time::Duration;

use crate::engine::notice::End;
use crate::engine::run::{Exit, OutOfMemory, Stop, describe_signal};
use crate::engine::time::describe_duration;
use crate::engine::words::size;

/// The end in a line; `None` where the engine's words have to do.
pub(super) fn korean(end: &End) -> Option<String> {
    match (&end.exit, &end.stop) {
        (Exit::SpawnFailed { step, error }, _) => Some(format!("시작하지 못함: {step}: {error}")),
        (Exit::Unknown { why }, _) => lost(why).map(str::to_owned),
        (_, Some(Stop::Timeout | Stop::Manual { .. })) => None,
        (_, Some(Stop::Silence { for_ms })) => {
            let lasted = Duration::from_secs((for_ms / 1000).max(1));
            Some(format!("{} 동안 출력도 작업도 없음", describe_duration(lasted)))
        }
        (_, Some(Stop::Signal)) => Some("호스트가 꺼질 때처럼 jobd-shim이 받은 시그널로 끝남".to_owned()),
        (Exit::Code(code), None) => Some(format!("종료 코드 {code}")),
        (Exit::Signal(signal), None) => {
            let signal = describe_signal(*signal).replacen("signal", "시그널", 1);
            Some(end.oom.map_or(signal.clone(), |oom| out_of_memory(oom, &signal)))
        }
    }
}

/// Why nobody saw it end, of what happens often.
fn lost(why: &str) -> Option<&'static str> {
    match why {
        "host rebooted" => Some("호스트가 다시 시작됨"),
        "its shim vanished" => Some("작업을 맡은 jobd-shim이 사라짐"),
        _ => None,
    }
}

fn out_of_memory(oom: OutOfMemory, signal: &str) -> String {
    let word = if oom.kills == 0 { "메모리 부족으로 보임" } else { "메모리 부족" };
    let limit = oom.limit.map(|limit| format!(", 한도 {}", size(limit))).unwrap_or_default();
    format!("{word}: {signal}{limit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_by_their_facts() {
        let told = |exit, stop, oom| korean(&End { exit, stop, oom });
        let unknown = |why: &str| Exit::Unknown { why: why.to_owned() };
        let spawn = Exit::SpawnFailed { step: "chdir".into(), error: "/nope: ENOENT".into() };
        let killed = |kills, limit| Some(OutOfMemory { kills, limit });
        for (exit, stop, oom, expected) in [
            (Exit::Code(3), None, None, Some("종료 코드 3")),
            (Exit::Signal(9), None, None, Some("시그널 9 (SIGKILL)")),
            (Exit::Signal(40), None, None, Some("시그널 40")),
            (
                Exit::Signal(9),
                None,
                killed(1, Some(512 << 20)),
                Some("메모리 부족: 시그널 9 (SIGKILL), 한도 512.0 MiB"),
            ),
            (Exit::Signal(9), None, killed(0, None), Some("메모리 부족으로 보임: 시그널 9 (SIGKILL)")),
            (
                Exit::Code(143),
                Some(Stop::Signal),
                None,
                Some("호스트가 꺼질 때처럼 jobd-shim이 받은 시그널로 끝남"),
            ),
            (Exit::Code(143), Some(Stop::Timeout), None, None),
            (spawn, None, None, Some("시작하지 못함: chdir: /nope: ENOENT")),
            (unknown("host rebooted"), None, None, Some("호스트가 다시 시작됨")),
            (unknown("its shim vanished"), None, None, Some("작업을 맡은 jobd-shim이 사라짐")),
            (unknown("jobd failed to look after it"), None, None, None),
        ] {
            assert_eq!(told(exit, stop, oom).as_deref(), expected);
        }
    }
}
