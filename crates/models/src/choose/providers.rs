//! The table of providers. A new provider is one more row.

/// A provider of models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// The part of a model's name before the `/`.
    pub name: &'static str,
    /// Its name in records and messages: OpenTelemetry's, if that has one.
    pub telemetry_name: &'static str,
    /// The API that it speaks.
    pub api: ProviderApi,
    /// Its base address; empty if each user has their own.
    pub base_url: &'static str,
    /// The environment variable that may hold another address.
    pub address_variable: Option<&'static str>,
    /// The environment variable that holds the key, if it requires one.
    pub key_variable: Option<&'static str>,
    /// Prefixes of the names of its models that no other provider has.
    pub prefixes: &'static [&'static str],
    /// The model for a user who only has a key: a good one at a low price.
    pub default_model: Option<&'static str>,
    /// True if its models cost nothing, because it runs on the user's machine.
    pub is_free: bool,
}

/// The API of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProviderApi {
    /// OpenAI's chat completions.
    OpenAi,
    /// The same on Azure: with deployments in the address, a version of the API, and the key in a
    /// header of its own.
    Azure,
    /// Anthropic's messages.
    Anthropic,
    /// Ollama's own API.
    Ollama,
}

/// The defaults of a row.
const DEFAULTS: Provider = Provider {
    name: "",
    telemetry_name: "",
    api: ProviderApi::OpenAi,
    base_url: "",
    address_variable: None,
    key_variable: None,
    prefixes: &[],
    default_model: None,
    is_free: false,
};

/// The known providers. If no model is named, the first provider whose key is set is used.
pub const PROVIDERS: &[Provider] = &[
    Provider {
        name: "openai",
        telemetry_name: "openai",
        base_url: "https://api.openai.com/v1",
        key_variable: Some("OPENAI_API_KEY"),
        prefixes: &["gpt-", "chatgpt-", "o1", "o3", "o4"],
        default_model: Some("gpt-4o-mini"),
        ..DEFAULTS
    },
    Provider {
        name: "anthropic",
        telemetry_name: "anthropic",
        api: ProviderApi::Anthropic,
        base_url: "https://api.anthropic.com/v1",
        key_variable: Some("ANTHROPIC_API_KEY"),
        prefixes: &["claude-"],
        default_model: Some("claude-haiku-4-5"),
        ..DEFAULTS
    },
    Provider {
        name: "gemini",
        telemetry_name: "gcp.gemini",
        base_url: "https://generativelanguage.googleapis.com/v1beta/openai",
        key_variable: Some("GEMINI_API_KEY"),
        prefixes: &["gemini-"],
        default_model: Some("gemini-2.5-flash"),
        ..DEFAULTS
    },
    Provider {
        name: "mistral",
        telemetry_name: "mistral_ai",
        base_url: "https://api.mistral.ai/v1",
        key_variable: Some("MISTRAL_API_KEY"),
        prefixes: &["mistral-large", "mistral-medium", "mistral-small", "codestral-"],
        default_model: Some("mistral-small-latest"),
        ..DEFAULTS
    },
    Provider {
        name: "deepseek",
        telemetry_name: "deepseek",
        base_url: "https://api.deepseek.com/v1",
        key_variable: Some("DEEPSEEK_API_KEY"),
        prefixes: &["deepseek-chat", "deepseek-reasoner"],
        default_model: Some("deepseek-chat"),
        ..DEFAULTS
    },
    Provider {
        name: "xai",
        telemetry_name: "x_ai",
        base_url: "https://api.x.ai/v1",
        key_variable: Some("XAI_API_KEY"),
        prefixes: &["grok-"],
        ..DEFAULTS
    },
    Provider {
        name: "groq",
        telemetry_name: "groq",
        base_url: "https://api.groq.com/openai/v1",
        key_variable: Some("GROQ_API_KEY"),
        default_model: Some("llama-3.3-70b-versatile"),
        ..DEFAULTS
    },
    Provider {
        name: "openrouter",
        telemetry_name: "openrouter",
        base_url: "https://openrouter.ai/api/v1",
        key_variable: Some("OPENROUTER_API_KEY"),
        default_model: Some("openai/gpt-4o-mini"),
        ..DEFAULTS
    },
    Provider {
        name: "together",
        telemetry_name: "together",
        base_url: "https://api.together.xyz/v1",
        key_variable: Some("TOGETHER_API_KEY"),
        ..DEFAULTS
    },
    Provider {
        name: "fireworks",
        telemetry_name: "fireworks",
        base_url: "https://api.fireworks.ai/inference/v1",
        key_variable: Some("FIREWORKS_API_KEY"),
        ..DEFAULTS
    },
    Provider {
        name: "azure",
        telemetry_name: "azure.ai.openai",
        api: ProviderApi::Azure,
        address_variable: Some("AZURE_OPENAI_ENDPOINT"),
        key_variable: Some("AZURE_OPENAI_API_KEY"),
        ..DEFAULTS
    },
    Provider {
        name: "ollama",
        telemetry_name: "ollama",
        api: ProviderApi::Ollama,
        base_url: "http://127.0.0.1:11434",
        address_variable: Some("OLLAMA_HOST"),
        is_free: true,
        ..DEFAULTS
    },
    Provider {
        name: "lmstudio",
        telemetry_name: "lmstudio",
        base_url: "http://127.0.0.1:1234/v1",
        ..DEFAULTS
    },
    Provider {
        name: "vllm",
        telemetry_name: "vllm",
        base_url: "http://127.0.0.1:8000/v1",
        ..DEFAULTS
    },
    Provider {
        name: "llamacpp",
        telemetry_name: "llama.cpp",
        base_url: "http://127.0.0.1:8080/v1",
        ..DEFAULTS
    },
];
