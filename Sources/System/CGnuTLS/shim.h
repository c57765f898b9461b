#pragma once
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <gnutls/crypto.h>
#include <gnutls/abstract.h>

// The library's deallocator is a variable, which Swift takes for shared mutable state.
static inline void fan_gnutls_free(void *_Nullable it) { gnutls_free(it); }
