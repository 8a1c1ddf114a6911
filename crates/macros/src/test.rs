//! `#[netsplit::test(…)]`.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Attribute, Error, Ident, ItemFn, LitInt, LitStr, Result, Token, bracketed, parenthesized};

/// Modes that every test runs in, and which that is.
const MODES: [(&str, &str); 2] = [("simulated", "Simulated"), ("namespace", "Provider(\"namespace\")")];

/// What stands in the parentheses.
struct Arguments {
    hosts: Vec<Role>,
    networks: Vec<Network>,
    routers: Vec<Router>,
    needs: Vec<LitStr>,
    seeds: Option<LitInt>,
    multi_thread: bool,
}

/// A network and a selector of the hosts on it: `home = "client"`.
struct Network {
    name: Ident,
    hosts: LitStr,
}

/// A router between two networks: `gw(inside = "home", outside = "net", kind = "home")`.
struct Router {
    name: Ident,
    inside: LitStr,
    outside: LitStr,
    kind: Option<LitStr>,
}

/// A role and its hosts.
struct Role {
    name: Option<Ident>,
    hosts: Hosts,
}

enum Hosts {
    Count(LitInt),
    Names(Vec<LitStr>),
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut arguments = Self {
            hosts: Vec::new(),
            networks: Vec::new(),
            routers: Vec::new(),
            needs: Vec::new(),
            seeds: None,
            multi_thread: false,
        };
        while !input.is_empty() {
            let name: Ident = input.parse()?;
            match name.to_string().as_str() {
                "hosts" if input.peek(syn::token::Paren) => {
                    let inner;
                    parenthesized!(inner in input);
                    let roles = Punctuated::<Role, Token![,]>::parse_terminated(&inner)?;
                    arguments.hosts.extend(roles);
                }
                "hosts" => {
                    input.parse::<Token![=]>()?;
                    arguments.hosts.push(Role { name: None, hosts: input.parse()? });
                }
                "networks" => arguments.networks.extend(list(input)?),
                "routers" => arguments.routers.extend(list(input)?),
                "needs" => {
                    input.parse::<Token![=]>()?;
                    arguments.needs = names(input)?;
                    check_needs(&arguments.needs)?;
                }
                "seeds" => {
                    input.parse::<Token![=]>()?;
                    arguments.seeds = Some(seeds(input.parse()?)?);
                }
                "flavor" => {
                    input.parse::<Token![=]>()?;
                    arguments.multi_thread = flavor(&input.parse()?)?;
                }
                "claim" => {
                    let text = "claims come with the master; until then write hosts(server = 1, client = 4)";
                    return Err(Error::new(name.span(), text));
                }
                other => {
                    let known = "hosts, networks, routers, needs, seeds, flavor";
                    let text = format!("unknown argument `{other}`; known: {known}");
                    return Err(Error::new(name.span(), text));
                }
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(arguments)
    }
}

/// What stands in parentheses, separated by commas.
fn list<T: Parse>(input: ParseStream<'_>) -> Result<Vec<T>> {
    let inner;
    parenthesized!(inner in input);
    Ok(Punctuated::<T, Token![,]>::parse_terminated(&inner)?.into_iter().collect())
}

impl Parse for Network {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Self { name, hosts: input.parse()? })
    }
}

impl Parse for Router {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name: Ident = input.parse()?;
        let (mut inside, mut outside, mut kind) = (None, None, None);
        for Network { name, hosts: text } in list::<Network>(input)? {
            match name.to_string().as_str() {
                "inside" => inside = Some(text),
                "outside" => outside = Some(text),
                "kind" => kind = Some(text),
                other => {
                    let text = format!("a router has no `{other}`; known: inside, outside, kind");
                    return Err(Error::new(name.span(), text));
                }
            }
        }
        let missing =
            |what: &str| Error::new(name.span(), format!("the router needs `{what} = \"NETWORK\"`"));
        let inside = inside.ok_or_else(|| missing("inside"))?;
        let outside = outside.ok_or_else(|| missing("outside"))?;
        Ok(Self { name, inside, outside, kind })
    }
}

impl Parse for Role {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Self { name: Some(name), hosts: input.parse()? })
    }
}

impl Parse for Hosts {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(LitInt) {
            let count: LitInt = input.parse()?;
            if count.base10_parse::<usize>()? == 0 {
                return Err(Error::new(count.span(), "a test needs a host"));
            }
            return Ok(Self::Count(count));
        }
        let names = names(input)?;
        for name in &names {
            check_name(&name.value()).map_err(|text| Error::new(name.span(), text))?;
        }
        Ok(Self::Names(names))
    }
}

fn names(input: ParseStream<'_>) -> Result<Vec<LitStr>> {
    let inner;
    bracketed!(inner in input);
    Ok(Punctuated::<LitStr, Token![,]>::parse_terminated(&inner)?.into_iter().collect())
}

/// The rule of `netsplit_model::HostName`, here so that a bad name does not compile.
fn check_name(name: &str) -> std::result::Result<(), String> {
    let is_label =
        name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let is_reserved = ["all", "here", "localhost", "none"].contains(&name);
    if is_label && begins && !name.ends_with('-') && name.len() <= 63 && !is_reserved {
        return Ok(());
    }
    Err(format!(
        "`{name}` cannot be a host's name: it takes lower-case letters, digits and `-`, and begins with a letter"
    ))
}

fn check_needs(needs: &[LitStr]) -> Result<()> {
    const KNOWN: [&str; 10] =
        ["kill", "pause", "pty", "connect", "programs", "users", "network", "clock", "disk", "reboot"];
    for need in needs {
        if !KNOWN.contains(&need.value().as_str()) {
            let text = format!("no capability `{}`; known: {}", need.value(), KNOWN.join(" "));
            return Err(Error::new(need.span(), text));
        }
    }
    Ok(())
}

/// How many seeds a test is simulated with.
fn seeds(count: LitInt) -> Result<LitInt> {
    match count.base10_parse::<usize>()? {
        0 => Err(Error::new(count.span(), "a test is simulated with one seed at least")),
        _ => Ok(count),
    }
}

/// Whether the flavour is `multi_thread`.
pub(crate) fn flavor(text: &LitStr) -> Result<bool> {
    match text.value().as_str() {
        "multi_thread" => Ok(true),
        "current_thread" => Ok(false),
        _ => Err(Error::new(text.span(), "known are `current_thread` and `multi_thread`")),
    }
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let arguments: Arguments = syn::parse2(arguments)?;
    let mut function: ItemFn = syn::parse2(item)?;
    check(&arguments, &function)?;
    // What belongs to the test goes to the tests; the rest stays with the function.
    let attributes = std::mem::take(&mut function.attrs);
    let (for_tests, for_function): (Vec<Attribute>, Vec<Attribute>) =
        attributes.into_iter().partition(is_of_test);
    function.attrs = for_function;
    let should_panic = for_tests.iter().any(|attribute| attribute.path().is_ident("should_panic"));
    let is_ignored = for_tests.iter().any(|attribute| attribute.path().is_ident("ignore"));

    let name = &function.sig.ident;
    let spec = spec(&arguments, should_panic);
    // The harness takes no result where it is to see a panic.
    let body = |mode| {
        let run = quote!(run(::netsplit::__private::Mode::#mode));
        if should_panic {
            quote!({ ::netsplit::__private::panic_if_failed(#run) })
        } else {
            quote!(-> ::core::result::Result<(), ::netsplit::TestFailure> { #run })
        }
    };
    let modes = MODES.iter().map(|(mode, variant)| {
        let function = format_ident!("{mode}");
        let body = body(variant.parse()?);
        Ok(quote! {
            #[::core::prelude::v1::test]
            #(#for_tests)*
            fn #function() #body
        })
    });
    let modes = modes.collect::<Result<Vec<_>>>()?;
    let elsewhere = body(quote!(Elsewhere));
    let ignore = (!is_ignored).then(|| quote!(#[ignore = "runs where NETSPLIT_PROVIDER says"]));
    Ok(quote! {
        #function

        #[cfg(test)]
        mod #name {
            static SPEC: ::netsplit::__private::TestSpec = #spec;

            fn run(
                mode: ::netsplit::__private::Mode,
            ) -> ::core::result::Result<(), ::netsplit::TestFailure> {
                ::netsplit::__private::run_test(&SPEC, mode, super::#name)
            }

            fn simulate() -> i32 {
                ::netsplit::__private::simulate_seed(&SPEC, super::#name)
            }

            #[::netsplit::__private::linkme::distributed_slice(::netsplit::__private::SIMULATIONS)]
            #[linkme(crate = ::netsplit::__private::linkme)]
            static SIMULATION: ::netsplit::__private::Simulation =
                ::netsplit::__private::Simulation { name: SPEC.module, run: simulate };

            #(#modes)*

            #[::core::prelude::v1::test]
            #(#for_tests)*
            #ignore
            fn elsewhere() #elsewhere
        }
    })
}

/// What the test asks for, as the code that it becomes has it.
fn spec(arguments: &Arguments, should_panic: bool) -> TokenStream {
    let hosts = arguments.hosts.iter().map(role);
    let (needs, multi_thread) = (&arguments.needs, arguments.multi_thread);
    let seeds = match &arguments.seeds {
        Some(count) => quote!(::core::option::Option::Some(#count)),
        None => quote!(::core::option::Option::None),
    };
    let networks = arguments.networks.iter().map(network);
    let routers = arguments.routers.iter().map(router);
    quote! {
        ::netsplit::__private::TestSpec {
            module: ::core::module_path!(),
            hosts: &[#(#hosts),*],
            networks: &[#(#networks),*],
            routers: &[#(#routers),*],
            needs: &[#(#needs),*],
            seeds: #seeds,
            package: ::core::env!("CARGO_PKG_NAME"),
            crate_name: ::core::env!("CARGO_CRATE_NAME"),
            integration: ::core::option_env!("CARGO_TARGET_TMPDIR").is_some(),
            binary: ::core::option_env!("CARGO_BIN_NAME").is_some(),
            should_panic: #should_panic,
            multi_thread: #multi_thread,
            manifest_dir: ::core::env!("CARGO_MANIFEST_DIR"),
        }
    }
}

/// What every test must have.
fn check(arguments: &Arguments, function: &ItemFn) -> Result<()> {
    if function.sig.asyncness.is_none() {
        return Err(Error::new(function.sig.fn_token.span, "a netsplit test is an `async fn`"));
    }
    if function.sig.inputs.len() != 1 {
        return Err(Error::new(
            function.sig.ident.span(),
            "a netsplit test takes its testbed: `(bed: Testbed)`",
        ));
    }
    if arguments.hosts.is_empty() {
        return Err(Error::new(
            function.sig.ident.span(),
            "say how many hosts: #[netsplit::test(hosts = 3)]",
        ));
    }
    Ok(())
}

fn is_of_test(attribute: &Attribute) -> bool {
    ["should_panic", "ignore", "cfg", "cfg_attr"].iter().any(|name| attribute.path().is_ident(name))
}

/// Names of the host language have no `-`.
fn plain(name: &Ident) -> String {
    name.to_string().replace('_', "-")
}

fn network(network: &Network) -> TokenStream {
    let (name, hosts) = (plain(&network.name), &network.hosts);
    quote!((#name, #hosts))
}

fn router(router: &Router) -> TokenStream {
    let Router { name, inside, outside, kind } = router;
    let name = plain(name);
    let kind = kind.as_ref().map_or_else(|| "router".to_owned(), LitStr::value);
    quote!([#name, #inside, #outside, #kind])
}

fn role(role: &Role) -> TokenStream {
    let path = quote!(::netsplit::__private::RoleSpec);
    let name = role.name.as_ref().map(plain);
    match (name, &role.hosts) {
        (None, Hosts::Count(count)) => quote!(#path::Numbered(#count)),
        (None, Hosts::Names(names)) => quote!(#path::Named(&[#(#names),*])),
        (Some(name), Hosts::Count(count)) => quote!(#path::Role(#name, #count)),
        (Some(name), Hosts::Names(names)) => quote!(#path::RoleNamed(#name, &[#(#names),*])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(arguments: TokenStream, attributes: TokenStream) -> std::result::Result<String, String> {
        let item = quote!(#attributes async fn survives(bed: Testbed) {});
        expand(arguments, item).map(|tokens| tokens.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_test_becomes_one_in_every_mode() {
        let text = expanded(quote!(hosts = 3, seeds = 1000), quote!()).unwrap();
        let variant =
            |name: &str| text.find(&format!("fn {name} ()")).unwrap_or_else(|| panic!("no {name}: {text}"));
        assert!(variant("simulated") < variant("namespace") && variant("namespace") < variant("elsewhere"));
        assert_eq!(text.matches("prelude :: v1 :: test").count(), 3);
        assert_eq!(text.matches("# [ignore").count(), 1);
        assert!(
            text.contains("Mode :: Simulated") && text.contains("Mode :: Provider (\"namespace\")"),
            "{text}"
        );
        assert!(text.contains("seeds : :: core :: option :: Option :: Some (1000)"), "{text}");
        assert!(text.contains("distributed_slice (:: netsplit :: __private :: SIMULATIONS)"), "{text}");
        let text = expanded(quote!(hosts = 1), quote!(#[should_panic])).unwrap();
        assert_eq!(text.matches("should_panic :: ").count() + text.matches("# [should_panic]").count(), 3);
        assert!(text.contains("seeds : :: core :: option :: Option :: None"), "{text}");
    }

    #[test]
    fn what_is_no_number_of_seeds_does_not_compile() {
        let wrong = |arguments| expanded(arguments, quote!()).unwrap_err();
        assert_eq!(wrong(quote!(hosts = 1, seeds = 0)), "a test is simulated with one seed at least");
        assert_eq!(wrong(quote!(hosts = 1, seeds = "many")), "expected integer literal");
        let text = "unknown argument `seed`; known: hosts, networks, routers, needs, seeds, flavor";
        assert_eq!(wrong(quote!(hosts = 1, seed = 7)), text);
    }
}
