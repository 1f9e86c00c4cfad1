//! The ways between the processes of a cluster, each through a fault proxy of
//! its own.

use std::net::SocketAddr;

use anyhow::Result;
use loadtest::fleet::Fleet;
use testbed::FaultProxy;

/// One proxy for each pair of a gateway, a router and the store.
#[derive(Debug)]
pub struct Ways {
    /// From each gateway to each router.
    gateway_router: Vec<Vec<FaultProxy>>,
    gateway_store: Vec<FaultProxy>,
    router_store: Vec<FaultProxy>,
}

/// Which of them; the numbers say which gateway and which router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// One gateway and one router.
    GatewayAndRouter(usize, usize),
    /// One gateway and all routers.
    GatewayAndRouters(usize),
    /// One gateway and the store.
    GatewayAndStore(usize),
    /// One router and the store.
    RouterAndStore(usize),
    /// One router, all gateways and the store.
    RouterAndAll(usize),
    /// Every pair of processes.
    All,
}

impl Ways {
    /// Leads all of a fleet that was not started yet through proxies, which
    /// forward to its routers and to the Redis of this port.
    pub async fn through(fleet: &mut Fleet, redis: u16) -> Result<Self> {
        let store = SocketAddr::from(([127, 0, 0, 1], redis));
        let mut ways =
            Self { gateway_router: Vec::new(), gateway_store: Vec::new(), router_store: Vec::new() };
        let routers: Vec<String> = fleet.routers().iter().map(|router| router.address()).collect();
        for router in fleet.routers() {
            let proxy = FaultProxy::start(store).await?;
            router.redirect(&store.to_string(), &proxy.address().to_string());
            ways.router_store.push(proxy);
        }
        for gateway in fleet.gateways() {
            // It reads the stream: what is meddled with are announcements to gateways.
            let proxy = FaultProxy::redis(redis).await?;
            gateway.redirect(&store.to_string(), &proxy.address().to_string());
            ways.gateway_store.push(proxy);
            let mut to_routers = Vec::new();
            for router in &routers {
                let proxy = FaultProxy::start(router.parse()?).await?;
                gateway.redirect(router, &proxy.address().to_string());
                to_routers.push(proxy);
            }
            ways.gateway_router.push(to_routers);
        }
        Ok(ways)
    }

    /// The proxies of these ways.
    pub fn of(&self, between: Between) -> Vec<&FaultProxy> {
        let of_router =
            |router: usize| self.gateway_router.iter().filter_map(move |gateway| gateway.get(router));
        match between {
            Between::GatewayAndRouter(gateway, router) => {
                self.gateway_router.get(gateway).and_then(|routers| routers.get(router)).into_iter().collect()
            }
            Between::GatewayAndRouters(gateway) => {
                self.gateway_router.get(gateway).into_iter().flatten().collect()
            }
            Between::GatewayAndStore(gateway) => self.gateway_store.get(gateway).into_iter().collect(),
            Between::RouterAndStore(router) => self.router_store.get(router).into_iter().collect(),
            Between::RouterAndAll(router) => of_router(router).chain(self.router_store.get(router)).collect(),
            Between::All => {
                let gateways = self.gateway_router.iter().flatten().chain(&self.gateway_store);
                gateways.chain(&self.router_store).collect()
            }
        }
    }
}
