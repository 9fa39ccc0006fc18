//! Coding agents through the gateway, pointed at it by `luthien client-env`. They are the real ones.

use serde_json::json;

use crate::{
    common::streams::Dialect,
    fakes::{provider::Provider, script::Script},
    harness::{
        agents::{Agent, User},
        gateway::{Builder, Gateway},
        samples,
    },
};

/// A gateway before the demo provider.
async fn demo(policy: &str) -> Gateway {
    Builder::at("demo").policy(policy).start().await
}

#[tokio::test]
async fn an_agent_is_answered() {
    let gateway = demo("policies: []").await;
    for agent in Agent::ALL {
        let Some(user) = agent.user().await else { continue };
        let answer = user.asks(&gateway, "Say hello, and don't be shy").await;
        assert!(answer.contains("You said: Say hello, and don't be shy"), "{agent:?}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn an_agent_runs_a_tool_and_returns_its_result() {
    let gateway = demo("policies: []").await;
    for agent in Agent::ALL {
        let Some(user) = agent.user().await else { continue };
        let answer = user.asks(&gateway, "Use a tool").await;
        let result = answer.split_once("The tool answered: ").map(|(_, result)| result);
        let result = result.unwrap_or_else(|| panic!("{agent:?}: {answer}"));
        assert!(result.contains("hello from the demo provider"), "{agent:?}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn what_a_policy_replaced_is_what_an_agent_prints() {
    let policy = r#"policies: [{ name: names, type: string_replacement, config: { replacements: { "Project Falcon": "the project" } } }]"#;
    let gateway = demo(policy).await;
    for agent in Agent::ALL {
        let Some(user) = agent.user().await else { continue };
        let answer = user.asks(&gateway, "Hello to Project Falcon").await;
        assert!(answer.contains("You said: Hello to the project"), "{agent:?}: {answer}");
        assert!(!answer.contains("Falcon"), "{agent:?}: {answer}");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_blocked_tool_call_does_not_run() {
    let policy = r#"policies: [{ name: tools, type: tool_filter, config: { deny: ["*"], message: "[not with me]" } }]"#;
    let gateway = demo(policy).await;
    for agent in Agent::ALL {
        let Some(user) = agent.user().await else { continue };
        let answer = user.asks(&gateway, "Use a tool").await;
        assert!(answer.contains("[not with me]"), "{agent:?}: {answer}");
        assert!(!answer.contains("The tool answered"), "{agent:?}: {answer}");
    }
    gateway.stop().await;
}

/// A login with a Claude subscription, as Claude Code keeps it.
const CLAUDE_TOKEN: &str = "sk-ant-oat01-made-up";
/// A login with `ChatGPT`: a token that says nothing but whose it is.
const CHATGPT_TOKEN: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJleHAiOjQxMDI0NDQ4MDAsImVtYWlsIjoiYUBleGFtcGxlLmNvbSIsImh0dHBzOi8vYXBpLm9wZW5haS5jb20vYXV0aCI6eyJjaGF0Z3B0X2FjY291bnRfaWQiOiJhY2NvdW50LTEiLCJjaGF0Z3B0X3BsYW5fdHlwZSI6InBsdXMiLCJjaGF0Z3B0X3VzZXJfaWQiOiJ1c2VyLTEifX0.eyJzIjoxfQ";

/// Logs the user in with a subscription, and returns the header with it.
fn log_in(agent: Agent, user: &User) -> String {
    let (file, login, token) = match agent {
        Agent::ClaudeCode => {
            let login = json!({ "claudeAiOauth": {
                "accessToken": CLAUDE_TOKEN, "refreshToken": "made-up", "expiresAt": 4_102_444_800_000_u64,
                "scopes": ["user:inference", "user:profile"], "subscriptionType": "max",
            } });
            (".claude/.credentials.json", login, CLAUDE_TOKEN)
        }
        Agent::Codex => {
            let tokens = json!({
                "id_token": CHATGPT_TOKEN, "access_token": CHATGPT_TOKEN, "refresh_token": "made-up",
                "account_id": "account-1",
            });
            // A token that was refreshed now is not refreshed again.
            let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
            let login =
                json!({ "auth_mode": "chatgpt", "OPENAI_API_KEY": null, "tokens": tokens, "last_refresh": now });
            (".codex/auth.json", login, CHATGPT_TOKEN)
        }
    };
    user.write(file, &login.to_string());
    format!("Bearer {token}")
}

#[tokio::test]
async fn subscriptions_reach_the_provider_unchanged() {
    let provider = Provider::start().await;
    // As ChatGPT's own backend has it.
    let upstreams = format!(
        "- {{ name: claude, url: \"{url}\", dialects: [anthropic_messages] }}\n\
         - {{ name: chatgpt, url: \"{url}/backend-api/codex\", v1: false, dialects: [openai_responses] }}\n",
        url = provider.url()
    );
    let with = || Gateway::with(&provider).upstreams(&upstreams);
    let gateway = with().start().await;
    let keyed = with()
        .settings("clients: { auth: keys, keys: [{ name: me, env: FAKE_CLIENT_KEY }] }")
        .env("FAKE_CLIENT_KEY", "key-of-the-gateway")
        .start()
        .await;
    for agent in Agent::ALL {
        let Some(user) = agent.user().await else { continue };
        let dialect = match agent {
            Agent::ClaudeCode => Dialect::Anthropic,
            Agent::Codex => Dialect::OpenaiResponses,
        };
        provider.otherwise(Script::sse(samples::text(dialect, &["Hello ", "there"])));
        let login = log_in(agent, &user);
        let user = user.env("LUTHIEN_CLIENT_KEY", "key-of-the-gateway");
        for gateway in [&gateway, &keyed] {
            let before = provider.requests().len();
            let answer = user.asks(gateway, "Hello").await;
            assert!(answer.contains("Hello there"), "{agent:?}: {answer}");
            let calls = provider.requests().split_off(before);
            let call = calls.iter().rfind(|call| call.method == "POST").expect("the provider was asked");
            assert_eq!(call.header("authorization"), Some(&*login), "{agent:?}");
            let (path, belongs) = match agent {
                Agent::ClaudeCode => {
                    let betas = call.header("anthropic-beta").unwrap_or_default();
                    ("/v1/messages?beta=true", betas.contains("oauth-"))
                }
                Agent::Codex => {
                    ("/backend-api/codex/responses", call.header("chatgpt-account-id") == Some("account-1"))
                }
            };
            assert_eq!(call.path, path, "{agent:?}");
            assert!(belongs, "{agent:?}: what the login needs is gone");
            assert!(call.headers.iter().all(|(_, value)| !value.contains("key-of-the-gateway")), "{agent:?}");
        }
    }
    gateway.stop().await;
    keyed.stop().await;
}
