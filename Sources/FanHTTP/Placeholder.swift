// FanHTTP
