// FanHTTPTests
