internal import FanCore
