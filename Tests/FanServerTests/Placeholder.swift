// FanServerTests
