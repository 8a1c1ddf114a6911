//! `#[netsplit::program]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::{Error, FnArg, Ident, ItemFn, Result, Token, Type};

use crate::test::flavor;

struct Arguments {
    multi_thread: bool,
}

impl Parse for Arguments {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Ok(Self { multi_thread: false });
        }
        let name: Ident = input.parse()?;
        if name != "flavor" {
            return Err(Error::new(name.span(), format!("unknown argument `{name}`; known: flavor")));
        }
        input.parse::<Token![=]>()?;
        Ok(Self { multi_thread: flavor(&input.parse()?)? })
    }
}

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let Arguments { multi_thread } = syn::parse2(arguments)?;
    let function: ItemFn = syn::parse2(item)?;
    if function.sig.asyncness.is_none() {
        return Err(Error::new(function.sig.fn_token.span, "a netsplit program is an `async fn`"));
    }
    let call = call(&function)?;
    let (name, visibility, attributes) = (&function.sig.ident, &function.vis, &function.attrs);
    // `r#true` is the program `true`.
    let short = name.unraw().to_string();
    // Two modules may have a program of one name. Hosts see what follows the slash.
    let whole = quote!(::core::concat!(::core::module_path!(), "/", #short));
    let mut inner = function.clone();
    inner.attrs = Vec::new();
    inner.vis = syn::Visibility::Inherited;
    Ok(quote! {
        #(#attributes)*
        #[allow(non_camel_case_types)]
        #[derive(Clone, Copy, Debug)]
        #visibility struct #name;

        impl ::netsplit::__private::AsProgram for #name {
            const NAME: &'static str = #whole;
        }

        const _: () = {
            // The body sees it: it must not hide a `run` of the user's.
            fn __netsplit_run(arguments: ::std::vec::Vec<::std::ffi::OsString>) -> i32 {
                #inner
                ::netsplit::__private::run_program(#multi_thread, arguments, |machine, arguments| #call)
            }

            #[::netsplit::__private::linkme::distributed_slice(::netsplit::__private::PROGRAMS)]
            #[linkme(crate = ::netsplit::__private::linkme)]
            static PROGRAM: ::netsplit::__private::Program =
                ::netsplit::__private::Program { name: #whole, run: __netsplit_run };
        };
    })
}

/// How the function is called: with nothing, the machine, the arguments, or both.
fn call(function: &ItemFn) -> Result<TokenStream> {
    let name = &function.sig.ident;
    let is_machine = |input: &FnArg| match input {
        FnArg::Typed(typed) => matches!(&*typed.ty, Type::Path(path)
            if path.path.segments.last().is_some_and(|last| last.ident == "Machine")),
        FnArg::Receiver(_) => false,
    };
    let inputs: Vec<_> = function.sig.inputs.iter().collect();
    Ok(match inputs[..] {
        [] => quote!({ let _ = (machine, arguments); #name() }),
        [only] if is_machine(only) => quote!({ let _ = arguments; #name(machine) }),
        [_only] => quote!({ let _ = machine; #name(arguments) }),
        [first, _second] if is_machine(first) => quote!(#name(machine, arguments)),
        _ => {
            let text = "a netsplit program takes nothing, `machine: Machine`, `arguments: Vec<String>`, or both in this order";
            return Err(Error::new(name.span(), text));
        }
    })
}
